//! Which requests are answered. Pure: a request's parts in, a decision out.

use subtle::ConstantTimeEq as _;

use crate::content::{Choice, DataRequest};

/// Longer positions are none of ours.
const LONGEST_POSITION: usize = 200;

/// And so are longer names, which have three bytes for one.
const LONGEST_PATH: usize = 3 * 4096;

/// The part of a request that decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) host: Option<&'a str>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Page,
    Data(DataRequest),
    /// The text of the file with this name.
    Source(String),
    Refused(Refusal),
}

/// Why nothing is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Method,
    Host,
    Token,
    Path,
}

impl Refusal {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Host => 421,
            Self::Token => 403,
            Self::Path => 404,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Method => "only GET and HEAD are answered\n",
            Self::Host => "open the address that viperf printed: it begins with http://127.0.0.1\n",
            Self::Token => {
                "open the whole address that viperf printed, with the letters behind the port\n"
            }
            Self::Path => "there is only the page\n",
        }
    }
}

/// Decides; `port` and `token` are the server's own.
pub(crate) fn route(asked: Asked<'_>, port: u16, token: &str) -> Route {
    if !matches!(asked.method, "GET" | "HEAD") {
        return Route::Refused(Refusal::Method);
    }
    // A name that somebody else lets point to 127.0.0.1 would be another origin, whose pages could read the answer.
    let is_ours = |host: &str| {
        host.rsplit_once(':').is_some_and(|(name, number)| {
            matches!(name, "127.0.0.1" | "localhost") && number.parse() == Ok(port)
        })
    };
    if !asked.host.is_some_and(is_ours) {
        return Route::Refused(Refusal::Host);
    }
    let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
    let Some((given, rest)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return Route::Refused(Refusal::Token);
    };
    if !bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
        return Route::Refused(Refusal::Token);
    }
    match rest {
        "" => Route::Page,
        "data" => parse_query(query).map_or(Route::Refused(Refusal::Path), Route::Data),
        "source" => parse_path(query).map_or(Route::Refused(Refusal::Path), Route::Source),
        _ => Route::Refused(Refusal::Path),
    }
}

fn parse_query(query: &str) -> Option<DataRequest> {
    let mut request = DataRequest::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("at", position) if position.len() <= LONGEST_POSITION => {
                position.clone_into(&mut request.position);
            }
            ("file", choice) => request.choice = parse_choice(choice)?,
            _ => return None,
        }
    }
    Some(request)
}

/// `all`, the place of one file, or those of two with a `-` between.
fn parse_choice(text: &str) -> Option<Choice> {
    Some(match text.split_once('-') {
        Some((base, new)) => Choice::Changes {
            base: base.parse().ok()?,
            new: new.parse().ok()?,
        },
        None if text == "all" => Choice::All,
        None => Choice::One(text.parse().ok()?),
    })
}

/// The name of a source file, each byte but letters and digits as `%` and two hexadecimal digits.
fn parse_path(query: &str) -> Option<String> {
    let coded = query.strip_prefix("path=")?;
    if coded.is_empty() || coded.len() > LONGEST_PATH {
        return None;
    }
    let mut bytes = Vec::with_capacity(coded.len());
    let mut rest = coded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                // `+1` would be a number, too.
                let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                u8::from_str_radix(digits, 16).ok().filter(|_| is_number)?
            }
            b'&' | b'=' | b'+' => return None,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn asked(method: &str, target: &str, host: Option<&str>) -> Route {
        let asked = Asked {
            method,
            target,
            host,
        };
        route(asked, 4000, TOKEN)
    }

    fn get(target: &str) -> Route {
        asked("GET", target, Some("127.0.0.1:4000"))
    }

    #[test]
    fn the_page_and_its_data_stand_behind_the_token() {
        assert_eq!(get("/0123456789abcdef/"), Route::Page);
        let data = DataRequest {
            position: "1.2.3".to_owned(),
            choice: Choice::One(1),
        };
        assert_eq!(
            get("/0123456789abcdef/data?at=1.2.3&file=1"),
            Route::Data(data)
        );
        for (text, choice) in [
            ("all", Choice::All),
            ("0-2", Choice::Changes { base: 0, new: 2 }),
        ] {
            let data = DataRequest {
                choice,
                ..DataRequest::default()
            };
            let target = format!("/{TOKEN}/data?file={text}");
            assert_eq!(get(&target), Route::Data(data));
        }
        assert_eq!(
            get("/0123456789abcdef/data"),
            Route::Data(DataRequest::default())
        );
    }

    #[test]
    fn a_wrong_or_missing_token_is_refused_whatever_is_asked_for() {
        for target in [
            "/",
            "",
            "*",
            "/0123456789abcdef",
            "/0123456789abcdeg/",
            "/0123456789abcde/data",
            "//data",
            "/../0123456789abcdef/",
        ] {
            assert_eq!(get(target), Route::Refused(Refusal::Token), "{target}");
        }
    }

    #[test]
    fn no_path_leads_to_a_file() {
        for rest in [
            "../../etc/passwd",
            "%2e%2e/etc/passwd",
            "data/../data",
            "/",
            "data?at",
            "data?file=-1",
            "data?file=1-",
            "data?file=0-1-2",
            "source",
            "source?path=",
            "source?path=%2",
            "source?path=%+1",
            "source?path=%ff",
            "source?path=a&path=b",
            "source?file=/etc/passwd",
            "data?file=x",
            "data?what=1",
        ] {
            let target = format!("/{TOKEN}/{rest}");
            assert_eq!(get(&target), Route::Refused(Refusal::Path), "{target}");
        }
        let long = format!("/{TOKEN}/data?at={}", "1".repeat(201));
        assert_eq!(get(&long), Route::Refused(Refusal::Path));
    }

    #[test]
    fn the_name_of_a_source_file_is_decoded() {
        for (coded, name) in [
            ("%2Fsrv%2Fapp.py", "/srv/app.py"),
            ("%2F%C3%BC%20%26%25.py", "/ü &%.py"),
            ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"),
        ] {
            let target = format!("/{TOKEN}/source?path={coded}");
            assert_eq!(get(&target), Route::Source(name.to_owned()));
        }
        let long = format!("/{TOKEN}/source?path={}", "a".repeat(3 * 4096 + 1));
        assert_eq!(get(&long), Route::Refused(Refusal::Path));
    }

    #[test]
    fn other_names_of_this_machine_are_refused_before_the_token_is_looked_at() {
        for host in [
            None,
            Some("evil.example:4000"),
            Some("127.0.0.1"),
            Some("127.0.0.1:4001"),
            Some("127.0.0.1.evil.example:4000"),
            Some("[::1]:4000"),
        ] {
            let route = asked("GET", "/0123456789abcdef/", host);
            assert_eq!(route, Route::Refused(Refusal::Host), "{host:?}");
        }
        let route = asked("GET", "/0123456789abcdef/", Some("localhost:4000"));
        assert_eq!(route, Route::Page);
    }

    #[test]
    fn nothing_can_be_sent() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"] {
            let route = asked(method, "/0123456789abcdef/", Some("127.0.0.1:4000"));
            assert_eq!(route, Route::Refused(Refusal::Method));
        }
    }
}
