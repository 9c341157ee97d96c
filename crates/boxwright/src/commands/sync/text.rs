//! The report on a terminal.

use super::tally::Tally;
use crate::ui;

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Bars of a histogram: with names and numbers a line stays below 120 columns.
const BARS: usize = 24;

pub(super) fn page(tally: &Tally) -> String {
    let reasons: Vec<String> = tally.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let head = [
        ui::row("samples", format!("{} ({})", tally.samples, reasons.join(", "))),
        ui::row("complete", format!("{:.1} %", 100.0 * tally.completeness())),
    ];
    let mut page = ui::table(&head);
    page += "\nSensors\n";
    page += &ui::table(&tally.sensors.iter().map(|(name, _)| (name.clone(), sensor(tally, name))).collect::<Vec<_>>());
    page += "\nResiduals (the second's instant less the first's)\n";
    let pairs = tally.pairs.iter().map(|((first, second), pair)| {
        let numbers = format!(
            "median {:8.1} ms, 5 to 95 %: {:.1} to {:.1} ms, {:.3} ▕{}▏ {:.3} ms",
            pair.quantile_ms(0.5),
            pair.quantile_ms(0.05),
            pair.quantile_ms(0.95),
            pair.least_ns as f64 * 1e-6,
            sparkline(&pair.bars(BARS)),
            pair.greatest_ns as f64 * 1e-6
        );
        (format!("{first} → {second}"), numbers)
    });
    page += &ui::table(&pairs.collect::<Vec<_>>());
    page += &alarms(tally);
    page
}

fn sensor(tally: &Tally, name: &str) -> String {
    let sensor = &tally.sensors[name];
    let period = sensor.period_ms().map_or_else(|| "no period".to_owned(), |ms| format!("every {ms:.1} ms"));
    let mut text = format!("{} frames {period}, longest gap {:.1} ms", sensor.frames, sensor.longest_gap_ms);
    if sensor.in_samples + sensor.missing > 0 {
        text += &format!(", missing in {:.1} %", 100.0 * sensor.missing_share());
    }
    if sensor.late > 0 {
        text += &format!(", {} late", sensor.late);
    }
    text += &format!(", stamp {} {:+} ms", sensor.stamp_ref, sensor.offset_ms);
    if let Some(ppm) = sensor.delays.drift_ppm() {
        text += &format!(", clock {:+.1} ppm", -ppm);
    }
    if !sensor.assumed_zero.is_empty() {
        text += &format!(" (zero for want of {})", sensor.assumed_zero.join(", "));
    }
    text
}

fn alarms(tally: &Tally) -> String {
    if tally.alarms.is_empty() {
        return "\nNo clock jumped, drifted or was set back within a clip\n".to_owned();
    }
    let mut text = "\nAlarms\n".to_owned();
    tally.alarms.iter().for_each(|alarm| text += &format!("  {alarm}\n"));
    if tally.more_alarms > 0 {
        text += &format!("  and {} more\n", tally.more_alarms);
    }
    text
}

fn sparkline(bars: &[u64]) -> String {
    let most = bars.iter().copied().max().unwrap_or_default().max(1);
    bars.iter().map(|count| BLOCKS[(count * 8).div_ceil(most) as usize]).collect()
}
