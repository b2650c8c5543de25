//! Who connects: listeners, surfaces, and the end of the process.
//!
//! Three doors: clients, the admin interface, and the control socket in the store's folder. It knows nothing of money
//! or dialects.

mod stall;
pub mod http2;
mod guard;
pub mod accept;
pub mod surfaces;
pub mod inherit;
pub mod clients;
pub mod run;
