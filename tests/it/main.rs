//! Tests of the whole server through its own surface. Each starts a real server on a free port.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod addresses;
mod api;
mod bad_input;
mod bad_routes;
mod cli;
mod cli_inbox;
mod cli_listen;
mod cli_publish;
mod cors;
mod examples;
mod forged;
mod inbox;
mod issuers;
mod key_server;
mod keys;
mod kill;
mod limits;
mod metrics;
mod openapi;
mod proxies;
mod publishing;
mod revocation;
mod server;
mod session;
mod smuggling;
mod smuggling_http1;
mod smuggling_http2;
mod ssrf;
mod stream;
mod tidy;
mod tls;
mod token;
mod transports;
