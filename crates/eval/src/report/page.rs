//! The report as one HTML file that needs nothing else and asks nobody.

use std::fmt::Write;

use super::breakdown::{Band, Breakdown};
use super::chart;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1b1b;background:#fff}\
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
th:first-child,td:first-child{text-align:left}code{background:#f2f2f2;padding:.1rem .3rem;user-select:all}.grid{stroke:#ddd}\
svg text{font:12px system-ui,sans-serif;fill:currentColor}@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}\
th,td{border-color:#333}code{background:#262626}.grid{stroke:#333}}";

/// What stands at the head of the page.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// The protocol.
    pub protocol: String,
    /// Where the labels are.
    pub labels: String,
    /// Where the truth is.
    pub truth: String,
    /// The protocol's own numbers, by name.
    pub numbers: Vec<(String, String)>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// Text made safe between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The page.
#[must_use]
pub fn html(heading: &Heading, breakdown: &Breakdown) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}: {1}</title><style>{STYLE}</style>\
         <h1>Labels against truth, protocol {0}</h1><p>labels <code>{1}</code>, truth <code>{2}</code></p>",
        escape(&heading.protocol),
        escape(&heading.labels),
        escape(&heading.truth)
    );
    for note in &heading.notes {
        let _ = write!(page, "<p>{}</p>", escape(note));
    }
    page.push_str("<h2>Numbers of the protocol</h2><table>");
    for (name, value) in &heading.numbers {
        let _ = write!(page, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    }
    page.push_str("</table><h2>Precision over recall</h2>");
    page.push_str(&chart::precision_recall(&breakdown.bands));
    page.push_str("<h2>By class and range</h2><table><tr><th>class</th><th>range</th><th>right when</th><th>truth</th><th>found</th><th>missed</th><th>false</th><th>precision</th><th>recall</th><th>AP</th><th>ECE</th><th>Brier</th><th>AURC</th></tr>");
    for band in &breakdown.bands {
        let numbers = band.trust.map(|trust| [trust.ece, trust.brier, trust.aurc]);
        let trust = numbers.map_or_else(|| "<td></td>".repeat(3), |n| n.map(|n| format!("<td>{n:.3}</td>")).concat());
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.1}</td>{trust}</tr>",
            escape(&band.class),
            range(band),
            escape(&band.agreement),
            band.truth,
            band.tp,
            band.fn_,
            band.fp,
            band.precision,
            band.recall,
            band.ap
        );
    }
    page.push_str("</table><h2>Worst frames</h2><table><tr><th>sequence</th><th>frame</th><th>missed</th><th>false</th><th>look at it</th></tr>");
    for frame in &breakdown.worst_frames {
        let view = frame.view.as_ref().map(|view| format!("<code>{}</code>", escape(view))).unwrap_or_default();
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{view}</td></tr>",
            escape(&frame.sequence),
            frame.number,
            frame.missed,
            frame.false_labels
        );
    }
    page.push_str("</table></html>\n");
    page
}

/// A band in words.
#[must_use]
pub fn range(band: &Band) -> String {
    match band.range_m {
        [low, high] if low == 0.0 && high.is_infinite() => "all".to_owned(),
        [low, high] if high.is_infinite() => format!("{low} m and more"),
        [low, high] => format!("{low} to {high} m"),
    }
}
