//! DIALECTS: bytes in, facts out. No I/O, no async, no clock.

#![deny(clippy::float_arithmetic)]

pub mod scan;
pub mod endpoint;
mod form;
pub mod ask;
pub mod excerpt;
pub mod live;
pub mod canonical;
pub mod wording;
pub mod said;
pub mod sound;
pub mod listing;
pub mod declared;
pub mod splice;
pub mod question;
pub mod bounds;
pub mod error_body;
pub mod sse;
mod counts;
pub mod again;
pub mod quota;
pub mod unwell;
pub mod facts;
mod shape;
mod gather;
mod openai_chat;
mod openai_responses;
mod openai_embeddings;
mod openai_usage;
mod anthropic_messages;
mod gemini;
mod interactions;
mod openai_media;
pub mod coding;
pub mod meter;
pub mod strip;
pub mod terminal;
pub mod keep_alive;
pub mod canned;
pub mod length_stop;
