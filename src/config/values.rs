//! Values as people, shells and editors write them.

use std::net::SocketAddr;

const PREFIX: &str = "PREGON_";
/// Other variables of the environment that begin like the options', and are read by the client commands.
const CLIENT_VARIABLES: [&str; 3] = ["PREGON_CONFIG", "PREGON_SERVER", "PREGON_TOKEN"];

/// An address and a port. `localhost` is 127.0.0.1; without a host, as in `:8000`, every address of this machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.rsplit_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    numeric.parse().map_err(|_| format!("`{text}` must be an address and a port, such as 127.0.0.1:8000"))
}

/// Yes or no, in the words of configuration files and of shells.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` must be true or false")),
    }
}

/// A secret without what editors and copying add around it: a byte order mark, spaces, an end of line.
pub(crate) fn secret(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// A complaint about an unknown key, with the known one that may be meant.
pub(super) fn unknown<'a>(place: &str, key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let hint = nearest(key, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("{place}: unknown key `{key}`{hint}")
}

/// Complaints about variables that look like options and are none. Those that Kubernetes makes for a service called `pregon`
/// are left out.
pub(super) fn unknown_variables(names: impl Iterator<Item = String>, keys: &[&str]) -> Vec<String> {
    let unknown = names.filter(|name| {
        let Some(rest) = name.strip_prefix(PREFIX) else { return false };
        let is_of_kubernetes = rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_");
        let is_option = keys.iter().any(|key| rest == key.to_ascii_uppercase());
        !is_of_kubernetes && !is_option && !CLIENT_VARIABLES.contains(&name.as_str())
    });
    let complain = |name: String| {
        let nearest = nearest(&name[PREFIX.len()..].to_ascii_lowercase(), keys.iter().copied());
        let hint =
            nearest.map(|key| format!("; did you mean {PREFIX}{}?", key.to_ascii_uppercase())).unwrap_or_default();
        format!("the environment variable {name} is unknown and has no effect{hint}")
    };
    unknown.map(complain).collect()
}

/// The known name that is most like an unknown one, if one is like it.
fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = known.map(|name| (strsim::jaro_winkler(unknown, name), name));
    let nearest = likeness.filter(|(likeness, _)| *likeness > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_host_or_name_this_machine() {
        for (text, expected) in [
            ("127.0.0.1:8000", Some("127.0.0.1:8000")),
            ("localhost:8000", Some("127.0.0.1:8000")),
            (":8000", Some("0.0.0.0:8000")),
            ("[::1]:0", Some("[::1]:0")),
            ("8000", None),
            ("127.0.0.1", None),
            ("localhost", None),
            ("localhost:99999", None),
            ("example.org:80", None),
            ("", None),
        ] {
            assert_eq!(address(text).ok().map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn yes_and_no_have_many_names() {
        for text in ["true", "1", "yes", "ON", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "0", "no", "off", "FALSE"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        assert_eq!(boolean("2"), Err("`2` must be true or false".into()));
    }

    #[test]
    fn a_variable_that_looks_like_an_option_is_named_with_the_one_that_may_be_meant() {
        let names =
            ["PREGON_LISTN", "PREGON_LISTEN", "PREGON_SERVER", "PREGON_SERVICE_HOST", "PREGON_PORT_80_TCP", "PATH"];
        let found = unknown_variables(names.map(str::to_owned).into_iter(), &["listen", "log"]);
        assert_eq!(
            found,
            ["the environment variable PREGON_LISTN is unknown and has no effect; did you mean PREGON_LISTEN?"]
        );
    }
}
