//! Where answers of embeddings tell what.
//!
//! Source: OpenAI's openapi.json 2.3.0 (`CreateEmbeddingResponse`).

use super::gather::Meaning::{Error, Model, Usage};
use super::gather::{ERROR_BYTES, Row, USAGE_BYTES, WORD_BYTES};
use super::scan::Take::Bytes;

pub(super) const ROWS: &[Row] = &[
    (&["usage"], Bytes(USAGE_BYTES), Usage),
    (&["model"], Bytes(WORD_BYTES), Model),
    (&["error"], Bytes(ERROR_BYTES), Error),
];
