//! Whose user tokens are accepted: the one issuer that flags describe, and those of the file's `[[issuers]]`.
//!
//! **Invariant:** no two issuers have the same name, and each has a key or says where its keys are.
//!
//! Deliberately absent: what a key is good for. A value that is read here is one, or the error says why it is none.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use toml::{Table, Value};

use super::{Layers, values};
use crate::auth::tokens::own::OWN_ISSUER;
use crate::auth::tokens::{Issuer, JwksUrl, LEEWAY_MAX, TokenAlgorithm, TokenKey, TokenRules};

/// Most issuers in a file, and most keys of each.
const ISSUERS_MAX: usize = 32;
const KEYS_MAX: usize = 32;

const OF_AN_ISSUER: [&str; 4] = ["issuer", "audience", "jwks_url", "keys"];
const OF_A_KEY: [&str; 5] = ["kid", "algorithm", "key", "key_file", "key_env"];

impl Layers {
    /// Whose tokens are accepted; nothing if nobody's are.
    pub(super) fn tokens(&mut self) -> Option<TokenRules> {
        let mut issuers: Vec<Issuer> = self.issuer_of_flags().into_iter().collect();
        for mut table in self.tables("issuers", ISSUERS_MAX, &OF_AN_ISSUER) {
            issuers.extend(table.issuer());
            self.errors.append(&mut table.errors);
        }
        let mut names = HashSet::new();
        for issuer in &issuers {
            if issuer.name.as_deref() == Some(OWN_ISSUER) {
                self.errors.push(format!("issuers: the name {OWN_ISSUER} is that of the server itself"));
            }
            if !names.insert(&issuer.name) {
                let said = issuer.name.as_deref().map_or("without a name".to_owned(), |name| format!("named {name}"));
                self.errors.push(format!("issuers: there must be one issuer {said}, flags and file together"));
            }
        }
        let leeway = self.duration_within("jwt_leeway", &(Duration::ZERO..=LEEWAY_MAX))?;
        (!issuers.is_empty()).then_some(TokenRules { issuers, leeway })
    }

    fn issuer_of_flags(&mut self) -> Option<Issuer> {
        let algorithm = self.read("jwt_algorithm", str::parse).unwrap_or(TokenAlgorithm::HS256);
        let key = self.secret("jwt_key", |text| TokenKey::given(algorithm, text).map_err(|error| error.to_string()));
        let jwks_url: Option<JwksUrl> = self.read("jwks_url", str::parse);
        let (name, audience) = (self.read("jwt_issuer", named), self.read("jwt_audience", named));
        if key.is_none() && jwks_url.is_none() {
            if name.is_some() || audience.is_some() {
                self.errors.push("jwt_issuer and jwt_audience: they are of no use without jwt_key or jwks_url".into());
            }
            return None;
        }
        Some(Issuer { name, audience, keys: key.into_iter().collect(), jwks_url })
    }

    /// The issuer that these layers are about, if it is one.
    fn issuer(&mut self) -> Option<Issuer> {
        let (name, audience) = (self.read("issuer", named), self.read("audience", named));
        let jwks_url: Option<JwksUrl> = self.read("jwks_url", str::parse);
        let mut keys = Vec::new();
        for mut table in self.tables("keys", KEYS_MAX, &OF_A_KEY) {
            keys.extend(table.key());
            self.errors.append(&mut table.errors);
        }
        if keys.is_empty() && jwks_url.is_none() {
            if self.errors.is_empty() {
                self.errors.push(format!("{}: must have keys or a jwks_url", self.place));
            }
            return None;
        }
        Some(Issuer { name, audience, keys, jwks_url })
    }

    /// The key that these layers are about, if it is one.
    fn key(&mut self) -> Option<TokenKey> {
        let given = OF_A_KEY[2..].iter().filter(|name| self.values.contains_key(**name)).count();
        if given != 1 {
            self.errors.push(format!("{}: must have one of key, key_file and key_env", self.place));
            return None;
        }
        if !self.values.contains_key("algorithm") {
            self.errors.push(format!("{}: must have an algorithm, such as ES256", self.place));
            return None;
        }
        let id = self.read("kid", named);
        let algorithm: TokenAlgorithm = self.read("algorithm", str::parse)?;
        let parse = |text: &str| TokenKey::given(algorithm, text).map_err(|error| error.to_string());
        let key = self.secret("key", parse).or_else(|| {
            self.read("key_env", |name| {
                let text = std::env::var(name).map_err(|_| format!("there is no variable {name} with text"))?;
                parse(values::secret(&text))
            })
        })?;
        Some(match id {
            Some(id) => key.named(id),
            None => key,
        })
    }

    /// The tables in the array under a key, as layers of their own.
    fn tables(&mut self, key: &str, tables_max: usize, known: &[&str]) -> Vec<Layers> {
        let place = self.origin(key);
        let tables = match self.values.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(tables)) if tables.len() <= tables_max => tables,
            Some(Value::Array(_)) => {
                self.errors.push(format!("{place}: must be at most {tables_max}"));
                return Vec::new();
            }
            Some(other) => {
                self.errors.push(format!("{place}: must be an array of tables, not of type {}", other.type_str()));
                return Vec::new();
            }
        };
        let mut layers = Vec::new();
        for (number, table) in tables.into_iter().enumerate() {
            let place = format!("{place}[{number}]");
            match table {
                Value::Table(table) => layers.push(Layers::of(place, table, known)),
                other => self.errors.push(format!("{place}: must be a table, not of type {}", other.type_str())),
            }
        }
        layers
    }

    /// A table of the file; what is wrong in it is said with its place.
    fn of(place: String, table: Table, known: &[&str]) -> Layers {
        let mut layers = Layers { place, values: Table::new(), origins: HashMap::new(), errors: Vec::new() };
        for (key, value) in table {
            if known.contains(&key.as_str()) {
                let origin = format!("{}.{key}", layers.place);
                layers.set(&key, value, &origin);
            } else {
                layers.errors.push(values::unknown(&layers.place, &key, known.iter().copied()));
            }
        }
        layers
    }
}

fn named(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".into()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::file;
    use crate::config::{Config, Flags};

    use super::*;

    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    fn load(text: &str, change: impl FnOnce(&mut Flags)) -> Result<Vec<Issuer>, String> {
        let file = file(text);
        let mut flags = Flags { config: Some(file.path().into()), ..Flags::default() };
        change(&mut flags);
        let config = Config::load(&flags).map_err(|error| error.to_string())?;
        Ok(config.tokens.map(|rules| rules.issuers).unwrap_or_default())
    }

    #[test]
    fn a_file_may_have_several_issuers_beside_the_one_of_the_flags() {
        let key = file(PUBLIC);
        let text = format!(
            "[[issuers]]\nissuer = \"https://login.example\"\naudience = \"pregon\"\njwks_url = \"https://login.example/keys\"\n\
             [[issuers]]\nissuer = \"backend\"\n\
             keys = [{{ kid = \"2026\", algorithm = \"EdDSA\", key_file = \"{}\" }},\n\
             {{ algorithm = \"HS256\", key = \"a secret of at least thirty-two bytes\" }}]\n",
            key.path().display(),
        );
        let issuers = load(&text, |flags| flags.jwt_key = Some("a secret of at least thirty-two bytes".into()));
        let issuers = issuers.expect("valid");
        let seen: Vec<_> = issuers.iter().map(|issuer| (issuer.name.as_deref(), issuer.keys.len())).collect();
        assert_eq!(seen, [(None, 1), (Some("https://login.example"), 0), (Some("backend"), 2)]);
        let fetched: Vec<_> =
            issuers.iter().map(|issuer| issuer.jwks_url.as_ref().map(|url| url.url().as_str())).collect();
        assert_eq!(fetched, [None, Some("https://login.example/keys"), None]);
        assert_eq!(issuers[1].audience.as_deref(), Some("pregon"));
        assert!(load("", |_| {}).expect("valid").is_empty());
        let fetched = load("", |flags| flags.jwks_url = Some("http://127.0.0.1:9/keys".into())).expect("valid");
        assert_eq!((fetched.len(), fetched[0].keys.len()), (1, 0));
    }

    #[test]
    fn what_is_wrong_with_an_issuer_is_said_with_its_place() {
        let secret = "key = \"a secret of at least thirty-two bytes\"";
        for (text, wanted) in [
            ("[[issuers]]\nissuer = \"x\"\n".to_owned(), "issuers[0]: must have keys or a jwks_url"),
            ("issuers = 3\n".to_owned(), "issuers: must be an array of tables, not of type integer"),
            ("issuers = [3]\n".to_owned(), "issuers[0]: must be a table, not of type integer"),
            (
                "[[issuers]]\njwks_ulr = \"https://x.example\"\n".to_owned(),
                "issuers[0]: unknown key `jwks_ulr`; did you mean `jwks_url`?",
            ),
            (
                "[[issuers]]\njwks_url = \"http://login.example/keys\"\n".to_owned(),
                "issuers[0].jwks_url: must be https:, or http: on this machine",
            ),
            (
                format!("[[issuers]]\nissuer = \"\"\nkeys = [{{algorithm = \"HS256\", {secret}}}]\n"),
                "issuers[0].issuer: must not be empty",
            ),
            (format!("[[issuers]]\nkeys = [{{{secret}}}]\n"), "issuers[0].keys[0]: must have an algorithm"),
            (
                format!("[[issuers]]\nkeys = [{{algorithm = \"none\", {secret}}}]\n"),
                "issuers[0].keys[0].algorithm: must be one of HS256",
            ),
            (
                format!("[[issuers]]\nkeys = [{{algorithm = \"HS256\", {secret}, key_env = \"X\"}}]\n"),
                "issuers[0].keys[0]: must have one of key, key_file and key_env",
            ),
            (
                "[[issuers]]\nkeys = [{algorithm = \"HS256\", key = \"short\"}]\n".to_owned(),
                "issuers[0].keys[0].key: must have at least 32 bytes",
            ),
            (
                "[[issuers]]\nkeys = [{algorithm = \"ES256\", key_env = \"PREGON_THERE_IS_NONE\"}]\n".to_owned(),
                "issuers[0].keys[0].key_env: there is no variable PREGON_THERE_IS_NONE with text",
            ),
            (
                format!("[[issuers]]\nkeys = [{{algorithm = \"HS256\", {secret}}}]\n").repeat(2),
                "there must be one issuer without a name",
            ),
            (
                "[[issuers]]\nissuer = \"x\"\njwks_url = \"https://x.example\"\n".repeat(2),
                "there must be one issuer named x",
            ),
            (
                "[[issuers]]\nissuer = \"urn:pregon:server\"\njwks_url = \"https://x.example\"\n".to_owned(),
                "the name urn:pregon:server is that of the server itself",
            ),
            ("[[issuers]]\njwks_url = \"https://x.example\"\n".repeat(33), "issuers: must be at most 32"),
            (
                "jwks_url = \"https://x.example\"\njwks_refresh = \"1h\"\njwks_stale_max = \"1m\"\n".into(),
                "jwks_stale_max: must be at least 1h",
            ),
            ("jwks_refresh = \"2d\"\n".into(), "jwks_refresh: must be at most 1day"),
            ("jwks_stale_max = \"2years\"\n".into(), "jwks_stale_max: must be at most"),
        ] {
            let said = load(&text, |_| {}).expect_err(wanted);
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }
}
