//! Numbers as an operator types them: the size of a pool, `5`, `+1`, `-2`; a slot.

use crate::decide::event::Size;

/// What was meant.
pub(super) fn parse(text: &str) -> Result<Size, String> {
    let by = text.starts_with(['+', '-']);
    let size = if by { text.parse().map(Size::By).ok() } else { text.parse().map(Size::To).ok() };
    match size {
        Some(Size::To(0)) => Err("a pool has at least 1 worker; `ratoon stop` ends them all".into()),
        Some(Size::By(0)) | None => Err("write how many workers (5), or how many more (+1) or fewer (-1)".into()),
        Some(size) => Ok(size),
    }
}

/// Which slot was meant.
pub(super) fn slot(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write the number of a slot, as `ratoon status` shows it".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_the_difference() {
        assert_eq!(parse("5"), Ok(Size::To(5)));
        assert_eq!(parse("+2"), Ok(Size::By(2)));
        assert_eq!(parse("-1"), Ok(Size::By(-1)));
        for wrong in ["", "0", "+0", "many", "1.5", "--1", "99999999999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_slot_is_told_what_one_is() {
        assert_eq!(slot("3"), Ok(3));
        for wrong in ["", "-1", "x", "99999999999"] {
            assert_eq!(slot(wrong), Err("write the number of a slot, as `ratoon status` shows it".into()), "{wrong}");
        }
    }
}
