//! Keys that are made at run time: their secrets, and how those are told again.
//!
//! A secret is random and shown once. What is kept is its HMAC under the store's pepper, so that neither the journal nor a
//! copy of it helps to guess one.
//!
//! Invariant: a secret is in no error and in no `Debug` output.

use std::path::Path;

use ring::hmac::{self, HMAC_SHA256};

use super::{AppError, kept};
use crate::clock::Mint;
use crate::config::Secret;
use crate::domain::key::Digest;

/// Random bytes of a secret: more than anybody can guess.
const SECRET_BYTES: usize = 24;

/// What is hashed in front of a secret, so that its hash is none of a credential that passes through.
const PURPOSE: &[u8] = b"tollgate key\0";

/// The store's pepper; it is made if there is none.
///
/// # Errors
/// It cannot be read or made.
pub fn pepper(folder: &Path, mint: &Mint) -> Result<hmac::Key, AppError> {
    Ok(hmac::Key::new(HMAC_SHA256, &kept::pepper(&folder.join("pepper"), mint)?))
}

/// Another secret.
///
/// # Errors
/// The system has no random numbers.
pub fn secret(mint: &Mint) -> Result<Secret, AppError> {
    let random: [u8; SECRET_BYTES] = mint.secret().map_err(|_| AppError::NoRandomness)?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Secret::new(&format!("tg_{digits}"), "made just now"))
}

/// What is kept of a secret.
#[must_use]
pub fn digest(pepper: &hmac::Key, secret: &str) -> Digest {
    let mut context = hmac::Context::with_key(pepper);
    context.update(PURPOSE);
    context.update(secret.as_bytes());
    let mut digest = Digest([0; 32]);
    digest.0.copy_from_slice(context.sign().as_ref());
    digest
}
