//! Pregón: notifications that reach a user's open tabs at once, survive whatever dies, and are seen exactly once.
//!
//! Data flows one way: [`http`] → [`publish`] → [`store`] → [`delivery`] → [`sse`]. The map of the house, its floors
//! and its invariants are in `docs/ARCHITECTURE.md`.

pub mod access;
pub mod auth;
pub mod blocking;
pub mod cli;
pub mod config;
pub mod content;
pub mod delivery;
pub mod demo;
pub mod diagnostics;
pub mod event_id;
pub mod http;
pub mod inbox;
pub mod limits;
pub mod listener;
pub mod loopback;
pub mod metrics;
pub mod notification;
pub mod publish;
pub mod retention;
pub mod server;
pub mod sse;
pub mod state;
pub mod store;

pub use config::Config;
pub use server::Server;
