//! Numbers in a column: as exact as its width allows, and never wider.

use std::time::Duration;

use crate::span::span;

/// At most 8 characters: `12345678`, then `123M`.
pub(super) fn count(number: u64) -> String {
    match number {
        0..100_000_000 => number.to_string(),
        100_000_000..100_000_000_000 => format!("{}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{}G", number / 1_000_000_000),
        100_000_000_000_000..100_000_000_000_000_000 => format!("{}T", number / 1_000_000_000_000),
        _ => format!("{}P", number / 1_000_000_000_000_000),
    }
}

/// At most 7 characters: `850ms`, `3.2s`, `4m10s`, `27h5m`, then `5d3h` and `9999d`.
pub(super) fn time(ms: u64) -> String {
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    match ms {
        _ if ms < 100 * HOUR => span(Duration::from_millis(ms)),
        _ if ms < 1000 * DAY => format!("{}d{}h", ms / DAY, ms % DAY / HOUR),
        _ if ms < 100_000 * DAY => format!("{}d", ms / DAY),
        _ => "ages".into(),
    }
}

/// `[#####...............]`: how much of it is done.
pub(super) fn bar(done: u32, of: u32) -> String {
    const LENGTH: u64 = 20;
    let full = (u64::from(done.min(of)) * LENGTH).checked_div(u64::from(of)).unwrap_or(LENGTH) as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(LENGTH as usize - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_figure_is_wider_than_its_column() {
        let mut rng = fastrand::Rng::with_seed(1);
        let any = (0..100_000).map(|_| rng.u64(..) >> rng.u32(0..64)).chain([0, u64::MAX]);
        for number in any {
            assert!(count(number).chars().count() <= 8, "{}", count(number));
            assert!(time(number).chars().count() <= 7, "{}", time(number));
        }
    }

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!([0, 99_999_999, 100_000_000, u64::MAX].map(count), ["0", "99999999", "100M", "18446P"]);
        assert_eq!([850, 250_000, 97_500_000].map(time), ["850ms", "4m10s", "27h5m"]);
        assert_eq!([442_800_000, 86_400_000_000, u64::MAX].map(time), ["5d3h", "1000d", "ages"]);
        assert_eq!(bar(0, 8), "[....................]");
        assert_eq!(bar(4, 8), "[##########..........]");
        assert_eq!(bar(9, 8), bar(0, 0));
    }
}
