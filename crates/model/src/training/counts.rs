//! What every algorithm makes sure of once its first stage has counted.

use super::epochs::refuse;
use crate::als::ops::Forbidden;
use tensor::ProgramError;

/// Ends training at the first value that a setting, as in `preset = "hu"`, has no meaning for, or where there is nothing to
/// train on.
pub(crate) fn check(
    forbidden: Option<Forbidden>,
    (key, word): (&str, &str),
    interactions: f64,
) -> Result<(), ProgramError> {
    if let Some(bad) = forbidden {
        return refuse(format!(
            "the interaction of {{user:{}}} with {{product:{}}} has the value {}, for which {key} = \"{word}\" has no \
             meaning: give values of 0 or more, or use another {key}",
            bad.user, bad.product, bad.value
        ));
    }
    if interactions == 0.0 {
        return refuse(
            "there is no interaction to train on: widen the training part of [split]".to_owned(),
        );
    }
    Ok(())
}
