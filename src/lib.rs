//! Pregón: a real-time notification server.
pub mod content;
pub mod delivery;
pub mod event_id;
pub mod notification;
pub mod sse;
pub mod store;
