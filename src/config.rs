//! Configuration: compiled-in defaults, then a file, then the environment, then flags.
//!
//! `config.default.toml` *is* the defaults. Flag `--stream-age-max`, variable `PREGON_STREAM_AGE_MAX` and key
//! `stream_age_max` are one and the same.
//!
//! **Invariant:** all that is wrong is said at once, with the nearest known name for an unknown one; a [`Config`] is
//! valid.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};
use url::Url;

use crate::auth::tokens::TokenRules;
use crate::auth::{SERVER_KEY_LENGTH_MIN, ServerKey, jwks};
use crate::http::outside::PublicUrl;

mod issuers;

mod limits;
pub(crate) mod values;

pub use limits::{LimitFlags, Limits};

const DEFAULTS: &str = include_str!("../config.default.toml");
/// Keys that have no default.
const WITHOUT_DEFAULT: [&str; 13] = [
    "admin_listen",
    "public_url",
    "cors_origin",
    "server_key",
    "server_key_file",
    "jwt_key",
    "jwt_key_file",
    "jwt_issuer",
    "jwt_audience",
    "jwks_url",
    "tls_cert",
    "tls_key",
    "streams_max",
];
/// What can only be said in a file.
const WITHOUT_FLAG: [&str; 1] = ["issuers"];

fn without_default() -> impl Iterator<Item = &'static str> {
    WITHOUT_DEFAULT.into_iter().chain(limits::WITHOUT_DEFAULT)
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it tells, without a credential, how it is; nowhere if there is none.
    pub admin_listen: Option<SocketAddr>,
    /// Folder of the embedded store.
    pub data_dir: PathBuf,
    /// The key of the application's back end.
    pub server_key: Option<ServerKey>,
    /// Which user tokens are accepted, if any are.
    pub tokens: Option<TokenRules>,
    /// How often the keys of issuers are fetched.
    pub jwks_refresh: Duration,
    /// How long they are used while they can't be fetched.
    pub jwks_stale_max: Duration,
    /// Certificate and key, if the server speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Where browsers find it, if not at the address on which it listens.
    pub public_url: Option<PublicUrl>,
    /// Origins whose pages may use this server from a browser.
    pub cors_origins: Vec<Origin>,
    /// Accept `?user_id=` without a credential.
    pub open_user_id: bool,
    /// Run the demo generator.
    pub demo: bool,
    /// How often it publishes.
    pub demo_interval: Duration,
    /// Quiet time after which a stream gets a heartbeat.
    pub heartbeat: Duration,
    /// Age at which a stream is closed.
    pub stream_age_max: Duration,
    /// Time over which streams are closed at the end.
    pub drain: Duration,
    /// Age at which notifications are removed.
    pub retention: Duration,
    /// Most notifications that a user has.
    pub max_per_user: usize,
    /// Most streams at once; by default what the descriptor limit allows.
    pub streams_max: Option<usize>,
    /// How often, and how many at once.
    pub limits: Limits,
    /// What is logged.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// An origin as a browser writes it: `https://app.example`, with a port if it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As it stands in headers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let origin = parsed.map(|url| url.origin().ascii_serialization());
        match origin {
            Some(origin) if text.trim_end_matches('/').eq_ignore_ascii_case(&origin) => Ok(Origin(origin)),
            Some(origin) => Err(format!("`{text}` is no origin; did you mean {origin}?")),
            None => {
                Err(format!("`{text}` is no origin such as https://app.example (a wildcard would let every page in)"))
            }
        }
    }
}

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, text or json"),
        }
    }
}

/// Flags of `serve` and `dev`, or their variables in the environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "PREGON_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS", env = "PREGON_LISTEN")]
    listen: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz without a credential
    #[arg(long, value_name = "ADDRESS", env = "PREGON_ADMIN_LISTEN")]
    admin_listen: Option<String>,
    /// Folder of the embedded store [default: pregon-data; of `pregon dev` a temporary one]
    #[arg(long, value_name = "FOLDER", env = "PREGON_DATA_DIR")]
    data_dir: Option<String>,
    /// Key with which the application's back end publishes
    #[arg(long, value_name = "KEY", env = "PREGON_SERVER_KEY", hide_env_values = true, allow_hyphen_values = true)]
    server_key: Option<String>,
    /// File that holds the server key
    #[arg(long, value_name = "FILE", env = "PREGON_SERVER_KEY_FILE")]
    server_key_file: Option<String>,
    /// Secret that user tokens are signed with, or the public key (PEM) of the pair
    #[arg(long, value_name = "SECRET", env = "PREGON_JWT_KEY", hide_env_values = true, allow_hyphen_values = true)]
    jwt_key: Option<String>,
    /// File that holds that key
    #[arg(long, value_name = "FILE", env = "PREGON_JWT_KEY_FILE")]
    jwt_key_file: Option<String>,
    /// How user tokens are signed: HS256, HS384, HS512, RS256, PS256, ES256 or `EdDSA` [default: HS256]
    #[arg(long, value_name = "ALGORITHM", env = "PREGON_JWT_ALGORITHM")]
    jwt_algorithm: Option<String>,
    /// What `iss` of user tokens must be
    #[arg(long, value_name = "ISSUER", env = "PREGON_JWT_ISSUER")]
    jwt_issuer: Option<String>,
    /// What `aud` of user tokens must be or have
    #[arg(long, value_name = "AUDIENCE", env = "PREGON_JWT_AUDIENCE")]
    jwt_audience: Option<String>,
    /// Where the keys of the issuer of user tokens are (JWKS): https:, or http: on this machine
    #[arg(long, value_name = "URL", env = "PREGON_JWKS_URL")]
    jwks_url: Option<String>,
    /// How often such keys are fetched [default: 5m]
    #[arg(long, value_name = "DURATION", env = "PREGON_JWKS_REFRESH")]
    jwks_refresh: Option<String>,
    /// How long they are used while they can't be fetched [default: 24h]
    #[arg(long, value_name = "DURATION", env = "PREGON_JWKS_STALE_MAX")]
    jwks_stale_max: Option<String>,
    /// Certificate (PEM), to speak TLS: HTTP/2 and HTTP/1.1
    #[arg(long, value_name = "FILE", env = "PREGON_TLS_CERT")]
    tls_cert: Option<String>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "PREGON_TLS_KEY")]
    tls_key: Option<String>,
    /// Address at which browsers find this server, with the path under which it is mounted if it is
    #[arg(long, value_name = "URL", env = "PREGON_PUBLIC_URL")]
    public_url: Option<String>,
    /// Origins whose pages may use this server, separated by commas
    #[arg(long, value_name = "ORIGINS", env = "PREGON_CORS_ORIGIN")]
    cors_origin: Option<String>,
    /// UNSAFE: accept `?user_id=` without a credential
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", env = "PREGON_OPEN_USER_ID")]
    open_user_id: Option<String>,
    /// Publish demo notifications for the users "1" and "2"
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", env = "PREGON_DEMO")]
    demo: Option<String>,
    /// Time between two demo notifications [default: 10s]
    #[arg(long, value_name = "DURATION", env = "PREGON_DEMO_INTERVAL")]
    demo_interval: Option<String>,
    /// Quiet time after which a stream gets a heartbeat [default: 15s]
    #[arg(long, value_name = "DURATION", env = "PREGON_HEARTBEAT")]
    heartbeat: Option<String>,
    /// Age at which a stream is closed and resumed [default: 1h]
    #[arg(long, value_name = "DURATION", env = "PREGON_STREAM_AGE_MAX")]
    stream_age_max: Option<String>,
    /// Time over which streams are closed at the end [default: 5s]
    #[arg(long, value_name = "DURATION", env = "PREGON_DRAIN")]
    drain: Option<String>,
    /// Age at which notifications are removed, every 10 minutes [default: 30d]
    #[arg(long, value_name = "DURATION", env = "PREGON_RETENTION")]
    retention: Option<String>,
    /// Most notifications that a user has, 10000 at most; older ones are removed [default: 1000]
    #[arg(long, value_name = "COUNT", env = "PREGON_MAX_PER_USER")]
    max_per_user: Option<String>,
    /// Most streams at once [default: what the descriptor limit allows]
    #[arg(long, value_name = "COUNT", env = "PREGON_STREAMS_MAX")]
    streams_max: Option<String>,
    /// What to log, as in `RUST_LOG` [default: info]
    #[arg(long, value_name = "FILTER", env = "PREGON_LOG")]
    log: Option<String>,
    /// auto, text or json
    #[arg(long, value_name = "FORMAT", env = "PREGON_LOG_FORMAT")]
    log_format: Option<String>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Flags {
    /// The flags that were given, by key.
    fn given(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let all = [
            ("listen", &self.listen),
            ("admin_listen", &self.admin_listen),
            ("public_url", &self.public_url),
            ("cors_origin", &self.cors_origin),
            ("data_dir", &self.data_dir),
            ("server_key", &self.server_key),
            ("server_key_file", &self.server_key_file),
            ("jwt_key", &self.jwt_key),
            ("jwt_key_file", &self.jwt_key_file),
            ("jwt_algorithm", &self.jwt_algorithm),
            ("jwt_issuer", &self.jwt_issuer),
            ("jwt_audience", &self.jwt_audience),
            ("jwks_url", &self.jwks_url),
            ("jwks_refresh", &self.jwks_refresh),
            ("jwks_stale_max", &self.jwks_stale_max),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("open_user_id", &self.open_user_id),
            ("demo", &self.demo),
            ("demo_interval", &self.demo_interval),
            ("heartbeat", &self.heartbeat),
            ("stream_age_max", &self.stream_age_max),
            ("drain", &self.drain),
            ("retention", &self.retention),
            ("max_per_user", &self.max_per_user),
            ("streams_max", &self.streams_max),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        let all = all.into_iter().chain(self.limits.all());
        // An empty variable is how shells and compose files write that there is none.
        all.filter_map(|(key, value)| value.as_ref().filter(|value| !value.is_empty()).map(|value| (key, value)))
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} error{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Merges defaults, the file that the flags name, and the flags.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
        Config::merge(Layers::new(), flags)
    }

    /// The same over the defaults of `pregon dev`: demo data in that folder, no credential for streams, no wait at the
    /// end.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load_for_dev(flags: &Flags, data_dir: &Path) -> Result<Config, ConfigError> {
        let mut layers = Layers::new();
        let data_dir = data_dir.display().to_string();
        for (key, value) in [("open_user_id", "true"), ("demo", "true"), ("drain", "0s"), ("data_dir", &data_dir)] {
            layers.set(key, Value::String(value.to_owned()), key);
        }
        Config::merge(layers, flags)
    }

    fn merge(mut layers: Layers, flags: &Flags) -> Result<Config, ConfigError> {
        if let Some(path) = &flags.config {
            layers.file(path);
        }
        for (key, value) in flags.given() {
            layers.set(key, Value::String(value.clone()), &format!("--{}", key.replace('_', "-")));
        }
        layers.finish()
    }
}

/// Keys and values, and where each value comes from.
struct Layers {
    /// Which part of the file they are; empty for the whole.
    place: String,
    values: Table,
    origins: std::collections::HashMap<String, String>,
    errors: Vec<String>,
}

impl Layers {
    fn new() -> Layers {
        let values = DEFAULTS.parse().expect("the compiled-in defaults are TOML");
        Layers { place: String::new(), values, origins: std::collections::HashMap::new(), errors: Vec::new() }
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) {
        self.origins.insert(key.to_owned(), origin.to_owned());
        self.values.insert(key.to_owned(), value);
    }

    fn file(&mut self, path: &Path) {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.errors.push(format!("{shown}: {error}")),
        };
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.errors.push(format!("{shown}: {}", error.to_string().trim_end())),
        };
        let without = without_default().chain(WITHOUT_FLAG).map(str::to_owned);
        let known: Vec<String> = self.values.keys().cloned().chain(without).collect();
        for (key, value) in table {
            if known.contains(&key) {
                self.set(&key, value, &format!("{shown}: {key}"));
            } else {
                self.errors.push(values::unknown(&shown.to_string(), &key, known.iter().map(String::as_str)));
            }
        }
    }

    fn origin(&self, key: &str) -> String {
        self.origins.get(key).cloned().unwrap_or_else(|| key.to_owned())
    }

    /// Takes a value as text and reads it; notes what is wrong with it.
    fn read<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.values.remove(key)? {
            Value::String(text) => text,
            value @ (Value::Integer(_) | Value::Boolean(_)) => value.to_string(),
            other => {
                self.errors.push(format!("{}: must not be of type {}", self.origin(key), other.type_str()));
                return None;
            }
        };
        parse(&text).map_err(|error| self.errors.push(format!("{}: {error}", self.origin(key)))).ok()
    }

    fn duration(&mut self, key: &str, min: Duration) -> Option<Duration> {
        self.duration_within(key, &(min..=Duration::MAX))
    }

    fn duration_within(&mut self, key: &str, limits: &RangeInclusive<Duration>) -> Option<Duration> {
        let (min, max) = (humantime::format_duration(*limits.start()), humantime::format_duration(*limits.end()));
        self.read(key, |text| match humantime::parse_duration(text) {
            Ok(duration) if limits.contains(&duration) => Ok(duration),
            Ok(duration) if duration < *limits.start() => Err(format!("must be at least {min}")),
            Ok(_) => Err(format!("must be at most {max}")),
            Err(error) => Err(format!("{error}; write a duration such as 90s, 15m, 1h or 30d")),
        })
    }

    fn boolean(&mut self, key: &str) -> Option<bool> {
        self.read(key, values::boolean)
    }

    /// A secret that stands under a key, or in the file whose path stands under `…_file`.
    fn secret<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let from_file = self.read(&format!("{key}_file"), |path| {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            parse(values::secret(&text))
        });
        self.read(key, |text| parse(values::secret(text))).or(from_file)
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        let mut path = |key: &str| self.read(key, |text| Ok(PathBuf::from(text)));
        match (path("tls_cert"), path("tls_key")) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => {
                self.errors.push("tls_cert and tls_key: one is of no use without the other".into());
                None
            }
        }
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        let second = Duration::from_secs(1);
        let config = (|| {
            let server_key = self.secret("server_key", |text| {
                let wanted = format!("must have at least {SERVER_KEY_LENGTH_MIN} printable characters");
                ServerKey::given(text).ok_or(wanted)
            });
            let tokens = self.tokens();
            let jwks_refresh = self.duration_within("jwks_refresh", &(second..=jwks::REFRESH_MAX));
            let refreshed = jwks_refresh.unwrap_or(second);
            let jwks_stale_max = self.duration_within("jwks_stale_max", &(refreshed..=jwks::STALE_MAX));
            let tls = self.tls();
            let count = |text: &str| match text.parse() {
                Ok(count) if count > 0 => Ok(count),
                _ => Err("must be a number above 0".into()),
            };
            let streams_max = self.read("streams_max", count);
            let max_per_user = self.read("max_per_user", limits::per_user);
            let limits = self.limits();
            // Each is read even if one before it is wrong, so that all errors are said at once.
            let listen = self.read("listen", values::address);
            let admin_listen = self.read("admin_listen", values::address);
            let data_dir = self.read("data_dir", |text| Ok(PathBuf::from(text)));
            let public_url = self.read("public_url", str::parse);
            let cors_origins = self.read("cors_origin", |text| {
                text.split([',', ' ']).filter(|part| !part.is_empty()).map(str::parse).collect::<Result<_, String>>()
            });
            let (open_user_id, demo) = (self.boolean("open_user_id"), self.boolean("demo"));
            let demo_interval = self.duration("demo_interval", Duration::from_millis(100));
            let heartbeat = self.duration("heartbeat", second);
            let stream_age_max = self.duration("stream_age_max", second);
            let drain = self.duration("drain", Duration::ZERO);
            let retention = self.duration("retention", second);
            let log = self.read("log", |text| {
                let filter = tracing_subscriber::EnvFilter::try_new(text);
                filter.map(|_| text.to_owned()).map_err(|error| error.to_string())
            });
            let log_format = self.read("log_format", |text| text.parse().map_err(str::to_owned));
            Some(Config {
                listen: listen?,
                admin_listen,
                data_dir: data_dir?,
                server_key,
                tokens,
                jwks_refresh: jwks_refresh?,
                jwks_stale_max: jwks_stale_max?,
                tls,
                public_url,
                cors_origins: cors_origins.unwrap_or_default(),
                open_user_id: open_user_id?,
                demo: demo?,
                demo_interval: demo_interval?,
                heartbeat: heartbeat?,
                stream_age_max: stream_age_max?,
                drain: drain?,
                retention: retention?,
                max_per_user: max_per_user?,
                streams_max,
                limits: limits?,
                log: log?,
                log_format: log_format?,
            })
        })();
        match config {
            Some(config) if self.errors.is_empty() => Ok(config),
            _ => Err(ConfigError(self.errors)),
        }
    }
}

/// Complaints about variables of the environment that look like options and are none.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let defaults: Table = DEFAULTS.parse().expect("the compiled-in defaults are TOML");
    let mut keys: Vec<&str> = without_default().collect();
    keys.extend(defaults.keys().map(String::as_str));
    values::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()), &keys)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    pub(in crate::config) fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn a_secret_is_what_was_meant_and_an_empty_value_is_none() {
        let key = "a-key-of-enough-length";
        let of_file = file(&format!("\u{feff} {key} \r\n"));
        let path = of_file.path().display().to_string();
        for (given, from_file) in
            [(Some(format!(" {key}\n")), None), (None, Some(path.clone())), (Some(String::new()), Some(path))]
        {
            let flags = Flags { server_key: given, server_key_file: from_file, ..Flags::default() };
            let config = Config::load(&flags).expect("valid");
            assert_eq!(config.server_key.expect("there").reveal(), key);
        }
        let nothing = || Some(String::new());
        let flags = Flags {
            listen: nothing(),
            public_url: nothing(),
            cors_origin: nothing(),
            streams_max: nothing(),
            jwt_key: nothing(),
            tls_cert: nothing(),
            demo: nothing(),
            retention: nothing(),
            log_format: nothing(),
            ..Flags::default()
        };
        assert_eq!(
            Config::load(&flags).map(|config| config.listen.port()).map_err(|error| error.to_string()),
            Ok(8000)
        );
    }

    #[test]
    fn the_compiled_in_file_is_the_defaults_and_every_key_is_a_flag() {
        let config = Config::load(&Flags::default()).expect("the defaults are valid");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.heartbeat, Duration::from_secs(15));
        assert_eq!(config.retention, Duration::from_hours(30 * 24));
        assert!(!config.open_user_id && !config.demo && config.server_key.is_none());
        let values: Table = DEFAULTS.parse().expect("TOML");
        let command = <crate::cli::Cli as clap::CommandFactory>::command();
        let serve = command.find_subcommand("serve").expect("there").clone();
        let absent: Vec<&str> = without_default().collect();
        for key in values.keys().map(String::as_str).chain(absent) {
            let flag = key.replace('_', "-");
            let argument = serve.get_arguments().find(|argument| argument.get_long() == Some(&flag));
            let argument = argument.unwrap_or_else(|| panic!("--{flag} is missing"));
            let variable = format!("PREGON_{}", key.to_uppercase());
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }

    #[test]
    fn a_file_overrides_the_defaults_and_a_flag_the_file() {
        let file = file("heartbeat = \"20s\"\nretention = \"7d\"\nstreams_max = 5\n");
        let flags = Flags { config: Some(file.path().into()), heartbeat: Some("25s".into()), ..Flags::default() };
        let config = Config::load(&flags).expect("valid");
        assert_eq!(config.heartbeat, Duration::from_secs(25));
        assert_eq!(config.retention, Duration::from_hours(7 * 24));
        assert_eq!(config.streams_max, Some(5));
    }

    #[test]
    fn what_dev_does_by_default_gives_way_to_a_file() {
        let file = file("demo = false\n");
        let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
        let config = Config::load_for_dev(&flags, Path::new("/somewhere")).expect("valid");
        assert_eq!((config.demo, config.open_user_id, config.data_dir), (false, true, "/somewhere".into()));
    }

    #[test]
    fn all_errors_are_said_at_once_with_the_nearest_name() {
        let file = file("retentoin = \"30d\"\nheartbeat = \"soon\"\ndemo = 3\n");
        let flags = Flags {
            config: Some(file.path().into()),
            listen: Some("here".into()),
            server_key: Some("short".into()),
            ..Flags::default()
        };
        let said = Config::load(&flags).expect_err("wrong").to_string();
        for part in [
            "has 5 errors",
            "unknown key `retentoin`; did you mean `retention`?",
            "heartbeat: ",
            "demo: `3` must be true or false",
            "--listen: `here` must be an address",
            "--server-key: must have at least 16",
        ] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key_and_the_other_way_round() {
        let flags = |cert: Option<&str>, key: Option<&str>| Flags {
            tls_cert: cert.map(str::to_owned),
            tls_key: key.map(str::to_owned),
            ..Flags::default()
        };
        let config = Config::load(&flags(Some("c.pem"), Some("k.pem"))).expect("valid");
        assert_eq!(config.tls, Some(TlsFiles { cert: "c.pem".into(), key: "k.pem".into() }));
        for flags in [flags(Some("c.pem"), None), flags(None, Some("k.pem"))] {
            let said = Config::load(&flags).expect_err("wrong").to_string();
            assert!(said.contains("tls_cert and tls_key: one is of no use without the other"), "{said}");
        }
    }

    #[test]
    fn limits_are_numbers_above_0_or_absent() {
        let limits = |text: &str| {
            let file = file(text);
            let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
            Config::load(&flags).map(|config| config.limits).map_err(|error| error.to_string())
        };
        let usual = limits("").expect("valid");
        assert_eq!((usual.publishes, usual.streams_per_user, usual.streams_per_address), (None, 1000, None));
        assert_eq!((usual.tickets_per_user, usual.failed_logins.burst()), (32, 30));
        assert_eq!(usual.topics_per_user, 1000);
        assert_eq!(usual.writes.to_string(), "100 at once, then 600 a minute");
        assert_eq!(limits("writes_per_minute = 60").expect("valid").writes.to_string(), "60 at once, then 60 a minute");
        let set = limits("publishes_per_second = 10\npublish_burst = 50\ntrusted_proxy = \"10.0.0.0/8, ::1\"");
        let set = set.expect("valid");
        assert_eq!(set.publishes.expect("set").to_string(), "50 at once, then 10 a second");
        assert_eq!(set.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
        for (text, wrong) in [
            ("streams_per_user = 0", "must be a number above 0"),
            ("max_topics_per_user = 10001", "must be a number from 1 to 10000"),
            ("writes_per_minute = 0", "must be a number above 0"),
            ("publishes_per_second = -1", "must be a number above 0"),
            ("tickets_per_user = 1001", "must be at most 1000"),
            ("jwt_key = \"a secret of at least thirty-two bytes\"\njwt_leeway = \"6m\"", "must be at most 5m"),
            ("publish_burst = 5", "it is of no use without publishes_per_second"),
            ("trusted_proxy = \"proxy.example\"", "`proxy.example` is no network such as 10.0.0.0/8"),
        ] {
            let said = limits(text).expect_err(text);
            assert!(said.contains(wrong), "{said}");
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        let origins = |text: &str| {
            let flags = Flags { cors_origin: Some(text.into()), ..Flags::default() };
            Config::load(&flags).map(|config| config.cors_origins).map_err(|error| error.to_string())
        };
        let known = origins("https://app.example, http://localhost:3000/,HTTPS://B.example").expect("valid");
        let known: Vec<&str> = known.iter().map(Origin::as_str).collect();
        assert_eq!(known, ["https://app.example", "http://localhost:3000", "https://b.example"]);
        for wrong in ["*", "null", "app.example", "https://app.example/page", "https://a@app.example", "file:///x"] {
            assert!(origins(wrong).expect_err(wrong).contains("is no origin"), "{wrong}");
        }
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let key = file("a key of some length\n");
        assert!(ServerKey::given("a key of some length").is_none(), "spaces can't stand in a header's token");
        let flags = Flags { server_key_file: Some(key.path().display().to_string()), ..Flags::default() };
        assert!(Config::load(&flags).is_err());
        let key = file("a-key-of-some-length\n");
        let flags = Flags { server_key_file: Some(key.path().display().to_string()), ..Flags::default() };
        let config = Config::load(&flags).expect("valid");
        assert_eq!(config.server_key.expect("a key").reveal(), "a-key-of-some-length");
    }
}
