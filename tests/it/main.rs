//! Tests of the whole from outside, a file per theme.

#[cfg(test)]
mod abort;
#[cfg(test)]
mod ask;
mod config;
mod journal;
mod mock;
mod prices;
#[cfg(test)]
mod recordings;
mod recordings_meter;
#[cfg(test)]
mod responses;
mod tapes;
mod tidy;
#[cfg(test)]
mod transparent;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
