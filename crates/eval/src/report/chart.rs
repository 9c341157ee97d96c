//! Precision over recall as SVG.

use std::fmt::Write;

use super::breakdown::Band;

/// Side of the plot in pixels.
const SIDE: f64 = 360.0;
const MARGIN: f64 = 44.0;
/// Colours that people with colour-blindness tell apart (Okabe and Ito, 2008).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// One curve a class over all ranges.
pub(super) fn precision_recall(bands: &[Band]) -> String {
    let all: Vec<&Band> = bands.iter().filter(|band| band.range_m == super::breakdown::BANDS_M[0]).collect();
    let (width, height) = (SIDE + 2.0 * MARGIN + 150.0, SIDE + 2.0 * MARGIN);
    let x = |recall: f64| MARGIN + SIDE * recall;
    let y = |precision: f64| MARGIN + SIDE * (1.0 - precision);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"precision over recall\">"
    );
    for step in 0..=5 {
        let value = f64::from(step) / 5.0;
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{0} {1}H{2}M{3} {4}V{5}\"/><text x=\"{3}\" y=\"{6}\" text-anchor=\"middle\">{value}</text><text x=\"{7}\" y=\"{8}\" text-anchor=\"end\">{value}</text>",
            x(0.0),
            y(value),
            x(1.0),
            x(value),
            y(0.0),
            y(1.0),
            y(0.0) + 16.0,
            x(0.0) - 6.0,
            y(value) + 4.0
        );
    }
    let _ = write!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">recall</text>", x(0.5), y(0.0) + 34.0);
    let _ = write!(svg, "<text x=\"{}\" y=\"{}\">precision</text>", x(0.0), y(1.0) - 10.0);
    for (index, band) in all.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let points: Vec<String> =
            band.curve.iter().map(|[recall, precision]| format!("{:.1},{:.1}", x(*recall), y(*precision))).collect();
        let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" points=\"{}\"/>", points.join(" "));
        let at = MARGIN + 18.0 * index as f64;
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{color}\"/><text x=\"{}\" y=\"{}\">{} (AP {:.1})</text>",
            x(1.0) + 12.0,
            at,
            x(1.0) + 30.0,
            at + 10.0,
            super::page::escape(&band.class),
            band.ap
        );
    }
    svg.push_str("</svg>");
    svg
}
