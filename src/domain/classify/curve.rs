//! Chances from sums, in integers: the logistic curve and its kin for several classes.
//!
//! Sums are in units of 1/65,536 of a natural logarithm of odds, chances in millionths.
//!
//! Invariant: a larger sum never has a smaller chance.

/// One in the units of sums.
pub(super) const ONE: i64 = 65_536;

/// Sure, in the units of chances.
pub(super) const SURE: u32 = 1_000_000;

/// Steps of the table, eight for each unit, from 0 to 16.
const STEPS: usize = 129;

/// `exp(-step / 8)` in 2^-32.
const DECAY: [u64; STEPS] = {
    // exp(-1/8) in 2^-60.
    const EIGHTH: u128 = 1_017_449_656_738_713_796;
    let (mut table, mut value, mut step) = ([0; STEPS], 1_u128 << 60, 0);
    while step < STEPS {
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^32")]
        let rounded = ((value + (1 << 27)) >> 28) as u64;
        table[step] = rounded;
        value = (value * EIGHTH) >> 60;
        step += 1;
    }
    table
};

/// The chance that belongs to a sum.
pub(super) fn chance(sum: i64) -> u32 {
    let odds = decay(sum.unsigned_abs());
    let one = 1_u128 << 32;
    let lesser = u128::from(odds) * u128::from(SURE) / (one + u128::from(odds));
    let lesser = u32::try_from(lesser).unwrap_or(SURE / 2);
    if sum > 0 { SURE - lesser } else { lesser }
}

/// The chances of classes by their sums.
pub(super) fn chances(sums: [i64; 3]) -> [u32; 3] {
    let top = sums.iter().copied().max().unwrap_or(0);
    let odds = sums.map(|sum| decay(top.abs_diff(sum)));
    let total: u64 = odds.iter().sum();
    odds.map(|odds| u32::try_from(u128::from(odds) * u128::from(SURE) / u128::from(total.max(1))).unwrap_or(SURE))
}

/// `exp(-sum)` in 2^-32, by a line between the steps of the table.
fn decay(sum: u64) -> u64 {
    let step_size = ONE.unsigned_abs() / 8;
    let step = usize::try_from(sum / step_size).unwrap_or(usize::MAX);
    let (Some(high), Some(low)) = (DECAY.get(step), DECAY.get(step.saturating_add(1))) else {
        return DECAY.last().copied().unwrap_or(0);
    };
    high - (high - low) * (sum % step_size) / step_size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_the_logistic_one() {
        for (sum, expect) in [(0, 500_000), (1, 731_059), (2, 880_797), (-1, 268_941), (-3, 47_426), (12, 999_994)] {
            assert!(chance(sum * ONE).abs_diff(expect) < 30, "{sum}: {}", chance(sum * ONE));
        }
        let mut last = 0;
        for sum in (-20 * ONE..20 * ONE).step_by(97) {
            assert!(chance(sum) >= last && chance(sum) <= SURE, "{sum}");
            last = chance(sum);
        }
        assert_eq!((chance(i64::MIN), chance(i64::MAX)), (0, SURE));
    }

    #[test]
    fn chances_of_classes_make_one() {
        for (sums, expect) in [([0, 0, 0], [333_333; 3]), ([ONE, 0, -ONE], [665_241, 244_728, 90_031])] {
            let found = chances(sums);
            assert!(found.iter().zip(expect).all(|(found, expect)| found.abs_diff(expect) < 200), "{found:?}");
        }
    }
}
