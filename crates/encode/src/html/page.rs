//! The page around the data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const TEMPLATE: &str = include_str!("../../web/page.html");
const STYLE: &str = include_str!("../../web/dist/page.css");

/// The script: `web/src` as Vite bundles it; `npm run check` in `web/` proves that it is.
const SCRIPT: &str = include_str!("../../web/dist/page.js");

/// The page with data in it, and the texts of source files; without, the page asks for `data` beside itself.
pub(super) fn render(contents: Option<(&[u8], &[u8])>) -> String {
    let served = contents.is_none();
    let (data, sources) = contents.unwrap_or_default();
    let [data, sources] = [data, sources].map(|bytes| STANDARD.encode(bytes));
    let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = TEMPLATE;
    // One pass over the template: a marker inside a script or the data means nothing.
    while let Some((before, (marker, after))) = rest
        .split_once("{{")
        .and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        page.push_str(before);
        match marker {
            "policy" => page.push_str(&content_security_policy(served)),
            "served" if served => page.push_str(" data-served"),
            "style" => page.push_str(STYLE),
            "script" => page.push_str(SCRIPT),
            "profile" => page.push_str(&data),
            "sources" => page.push_str(&sources),
            _ => {}
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Nothing may be loaded from anywhere, and nothing may run but the page's own script; a served page may ask its server.
pub(super) fn content_security_policy(served: bool) -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; {}base-uri 'none'; form-action 'none'",
        hash_source(SCRIPT),
        hash_source(STYLE),
        if served { "connect-src 'self'; " } else { "" }
    )
}

fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}
