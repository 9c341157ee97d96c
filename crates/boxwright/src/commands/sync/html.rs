//! The report as one HTML file: drawings inline, no script, nothing from elsewhere.

use super::tally::{Curve, Tally};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 120.0;
const BARS: usize = 64;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Time of the sensors</title>\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<style>body{font:14px system-ui,sans-serif;margin:2em;max-width:60em}td,th{padding:2px 12px 2px 0;text-align:left}\
svg{background:#f6f8fa;display:block}rect{fill:#2f6f9f}polyline{fill:none;stroke:#2f6f9f;stroke-width:1.5}\
text{font-size:11px;fill:#555}.alarm{color:#a40000}</style>\n<h1>Time of the sensors</h1>\n";

pub(super) fn page(tally: &Tally) -> String {
    let mut page = HEAD.to_owned();
    page += &format!("<p>{} samples, {:.1} % complete</p>\n", tally.samples, 100.0 * tally.completeness());
    for alarm in &tally.alarms {
        page += &format!("<p class=\"alarm\">{}</p>\n", escaped(alarm));
    }
    page +=
        "<h2>Sensors</h2>\n<table><tr><th>sensor<th>frames<th>missing<th>late<th>period<th>longest gap<th>stamp<th>offset</tr>\n";
    for (name, sensor) in &tally.sensors {
        let period = sensor.period_ms().map_or_else(String::new, |ms| format!("{ms:.1} ms"));
        page += &format!(
            "<tr><td>{}<td>{}<td>{:.1} %<td>{}<td>{period}<td>{:.1} ms<td>{}<td>{} ms</tr>\n",
            escaped(name),
            sensor.frames,
            100.0 * sensor.missing_share(),
            sensor.late,
            sensor.longest_gap_ms,
            escaped(&sensor.stamp_ref),
            sensor.offset_ms
        );
    }
    page += "</table>\n<h2>Residuals</h2>\n";
    for ((first, second), pair) in &tally.pairs {
        let (median, low, high) = (pair.quantile_ms(0.5), pair.quantile_ms(0.05), pair.quantile_ms(0.95));
        let title = format!("{first} → {second}: median {median:.1} ms, 5 to 95 %: {low:.1} to {high:.1} ms");
        page += &format!("<h3>{}</h3>\n", escaped(&title));
        page += &histogram(&pair.bars(BARS), pair.least_ns as f64 * 1e-6, pair.greatest_ns as f64 * 1e-6);
        page += &curve(&pair.over_time, "residual over time");
    }
    page += "<h2>Clocks: least difference of arrival and stamp, a point a clip</h2>\n";
    for (name, sensor) in tally.sensors.iter().filter(|(_, sensor)| !sensor.delays.points.is_empty()) {
        page += &format!("<h3>{}</h3>\n{}", escaped(name), curve(&sensor.delays, "least delay"));
    }
    page + "</html>\n"
}

fn histogram(bars: &[u64], least_ms: f64, greatest_ms: f64) -> String {
    let most = bars.iter().copied().max().unwrap_or_default().max(1) as f64;
    let step = WIDTH / bars.len() as f64;
    let rects: String = bars
        .iter()
        .enumerate()
        .map(|(index, count)| {
            let height = (HEIGHT - 20.0) * *count as f64 / most;
            format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                index as f64 * step,
                HEIGHT - 16.0 - height,
                step - 1.0
            )
        })
        .collect();
    drawing(&rects, &format!("{least_ms:.3} ms"), &format!("{greatest_ms:.3} ms"))
}

fn curve(curve: &Curve, what: &str) -> String {
    let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) else { return String::new() };
    let values = || curve.points.iter().map(|(_, value)| *value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let span_ns = last.0.saturating_sub(first.0).max(1) as f64;
    // A tenth of a millisecond at least: noise of nanoseconds is not to look like an event.
    let height_ms = (high - low).max(0.1);
    let line: Vec<String> = curve
        .points
        .iter()
        .map(|(stamp_ns, value)| {
            let x = WIDTH * stamp_ns.saturating_sub(first.0) as f64 / span_ns;
            format!("{x:.1},{:.1}", HEIGHT - 20.0 - (HEIGHT - 30.0) * (value - low) / height_ms)
        })
        .collect();
    let drift = curve.drift_ppm().map_or_else(String::new, |ppm| format!(", {ppm:+.1} ppm"));
    let note = format!("{what}: {low:.3} to {high:.3} ms{drift}");
    drawing(&format!("<polyline points=\"{}\"/>", line.join(" ")), &note, &format!("{:.0} s", span_ns * 1e-9))
}

fn drawing(inside: &str, left: &str, right: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">{inside}\
<text x=\"4\" y=\"{y}\">{}</text><text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>\n",
        escaped(left),
        escaped(right),
        y = HEIGHT - 3.0,
        x = WIDTH - 4.0
    )
}

/// Names come from anybody's headers.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_header_is_text_and_nothing_is_fetched() {
        let mut tally = Tally::default();
        tally.sensors.entry("car/<script src=\"http://x\">".to_owned()).or_default();
        let page = page(&tally);
        assert!(page.contains("&lt;script src=&quot;") && !page.contains("<script"), "{page}");
        assert!(!page.contains("href") && !page.contains("url("));
    }
}
