//! Cases of the policy that follows rates. They are formulae over ticks of 20 ms: topic `p` sends at every tick, `q` at every second
//! and `r` at every fourth one, in the order `q`, `r`, `p` within a tick; where the rate changes, `p` slows down to every third tick.

use boxwright_timesync::policy::{LatestConfig, LatestTime};
use boxwright_timesync::{Policy, Stamped, SyncEvent};

const TICK_NS: i64 = 20_000_000;
/// Ticks until `p` slows down.
const FAST_TICKS: usize = 4;

/// Number of sets so far and the newest one, as numbers of the messages of `p`, `q` and `r`.
type State = (usize, Option<[usize; 3]>);

struct Scenario {
    ticks: usize,
    /// At which ticks of their period `q` and `r` send.
    q_phase: usize,
    r_phase: usize,
    /// At which ticks of three `p` sends when it is slow; `None` for never slow.
    slow_phase: Option<usize>,
    expected: fn(usize) -> State,
}

pub(super) fn run(name: &str) -> Result<(), String> {
    let scenario = match name {
        "Leading" => Scenario { ticks: 8, q_phase: 0, r_phase: 0, slow_phase: None, expected: leading },
        "Trailing" => Scenario { ticks: 8, q_phase: 1, r_phase: 3, slow_phase: None, expected: trailing },
        "ChangeRateLeading" => Scenario { ticks: 12, q_phase: 0, r_phase: 0, slow_phase: Some(0), expected: slower_leading },
        "ChangeRateTrailing" => Scenario { ticks: 12, q_phase: 1, r_phase: 3, slow_phase: Some(1), expected: slower_trailing },
        other => return Err(format!("expected a scenario that is known, got {other:?}")),
    };
    let mut synchroniser = LatestTime::new(&LatestConfig::new(3)).map_err(|error| error.to_string())?;
    let (mut sent, mut state, mut out) = ([0_u64; 3], (0, None), Vec::new());
    for tick in 0..scenario.ticks {
        let slow = scenario.slow_phase.filter(|_| tick >= FAST_TICKS);
        let sends = [slow.is_none_or(|phase| tick % 3 == phase), tick % 2 == scenario.q_phase, tick % 4 == scenario.r_phase];
        for topic in [1, 2, 0].into_iter().filter(|topic| sends[*topic]) {
            synchroniser.push(topic, Stamped::new(tick as i64 * TICK_NS, sent[topic]), &mut out);
            sent[topic] += 1;
        }
        for event in out.drain(..) {
            if let SyncEvent::Set(set) = event {
                state = (state.0 + 1, Some([0, 1, 2].map(|topic: usize| set[topic].token as usize)));
            }
        }
        let expected = (scenario.expected)(tick);
        if state != expected {
            return Err(format!("tick {tick}: expected {expected:?}, got {state:?}"));
        }
    }
    Ok(())
}

fn leading(tick: usize) -> State {
    (tick, (tick > 0).then(|| [tick, tick / 2, tick / 4]))
}

fn trailing(tick: usize) -> State {
    (tick.saturating_sub(2), (tick > 2).then(|| [tick, (tick - 1) / 2, (tick - 3) / 4]))
}

fn slower_leading(tick: usize) -> State {
    match tick {
        0..=3 => leading(tick),
        4..=5 => (usize::midpoint(tick, 2), Some([3, 1, 0])),
        _ => (usize::midpoint(tick, 2), Some([tick / 2, tick / 2, (tick - 2) / 4])),
    }
}

fn slower_trailing(tick: usize) -> State {
    match tick {
        0..=4 => trailing(tick),
        5..=6 => (2, Some([4, 1, 0])),
        _ => ((tick - 1) / 2, Some([tick.div_ceil(2), (tick - 1) / 2, (tick - 5) / 4])),
    }
}
