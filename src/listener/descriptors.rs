//! How the descriptors of the process are shared out among connections, and how many are kept from them.
//!
//! **Invariant:** requests, streams and what is kept are never more than the limit, whatever the options ask for. Without a
//! descriptor no connection is accepted: then nothing answers, `/healthz` neither.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections that speak HTTP at once, at some 12 KB each; streams do not count.
const REQUESTS_AT_ONCE_MAX: usize = 4096;
/// With fewer, no place could be kept for heads.
pub(super) const REQUESTS_AT_ONCE_MIN: usize = 8;
/// Descriptors that are kept from connections: for the store, the log, what is inherited; and for each core an engine and
/// a reader of the store.
const KEPT: usize = 64;
const KEPT_PER_CORE: usize = 8;

/// How many connections the options ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Connections that speak HTTP at once (`--connections-max`).
    pub requests: Option<usize>,
    /// Streams at once (`--streams-max`).
    pub streams: Option<usize>,
    /// Connections at once on listeners of their own (`--admin-listen`).
    pub elsewhere: usize,
}

/// How the descriptors of this process are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Connections that speak HTTP at once.
    pub requests: usize,
    /// Streams at once; further ones are asked to come back.
    pub streams: usize,
}

impl Places {
    /// Raises the descriptor limit as far as this process may, and shares it out. Whoever wants more than there is gets less,
    /// and the process log says so.
    #[must_use]
    pub fn of_this_process(wanted: Wanted) -> Places {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let granted = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
        let descriptors = granted.map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX));
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let kept = KEPT + KEPT_PER_CORE * cores + wanted.elsewhere;
        let places = Places::shared(descriptors, kept, wanted);
        if let Some(enough) = places.missing(descriptors, kept, wanted) {
            tracing::warn!(
                descriptor_limit = descriptors,
                descriptors_needed = enough,
                connections_allowed = places.requests,
                streams_allowed = places.streams,
                "the descriptor limit is too low for --connections-max and --streams-max, so fewer are allowed at once; raise \
                 the limit to descriptors_needed (LimitNOFILE=, ulimit -n)"
            );
        }
        places
    }

    /// What of so many descriptors, of which `kept` are for others, connections get.
    fn shared(descriptors: usize, kept: usize, wanted: Wanted) -> Places {
        let left = descriptors.saturating_sub(kept).max(REQUESTS_AT_ONCE_MIN + 1);
        let requests = wanted.requests.unwrap_or((descriptors / 4).min(REQUESTS_AT_ONCE_MAX));
        let requests = requests.clamp(REQUESTS_AT_ONCE_MIN, left - 1);
        Places { requests, streams: (left - requests).min(wanted.streams.unwrap_or(usize::MAX)) }
    }

    /// How many descriptors would be enough for what is wanted, if these are not.
    fn missing(self, descriptors: usize, kept: usize, wanted: Wanted) -> Option<usize> {
        let requests = wanted.requests.unwrap_or(self.requests).max(self.requests);
        let streams = wanted.streams.unwrap_or(1);
        Some(kept.saturating_add(requests).saturating_add(streams)).filter(|enough| *enough > descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_no_more_descriptors_than_there_are() {
        let wanted = |requests, streams| Wanted { requests, streams, elsewhere: 0 };
        let many = 1_000_000;
        for (descriptors, wanted, requests, streams, enough) in [
            (1024, wanted(None, None), 256, 668, None),
            (65_536, wanted(None, None), 4096, 61_340, None),
            (1024, wanted(None, Some(668)), 256, 668, None),
            (1024, wanted(None, Some(669)), 256, 668, Some(1025)),
            (1024, wanted(None, Some(many)), 256, 668, Some(many + 356)),
            (1024, wanted(Some(64), Some(860)), 64, 860, None),
            (1024, wanted(Some(923), None), 923, 1, None),
            (1024, wanted(Some(many), None), 923, 1, Some(many + 101)),
            (1024, wanted(Some(many), Some(many)), 923, 1, Some(2 * many + 100)),
            (usize::MAX, wanted(None, Some(many)), 4096, many, None),
            (109, wanted(None, None), 8, 1, None),
            // Too few for anything: a warning, and as little as possible.
            (20, wanted(None, None), 8, 1, Some(109)),
        ] {
            let places = Places::shared(descriptors, 100, wanted);
            assert_eq!(places, Places { requests, streams }, "{descriptors} for {wanted:?}");
            assert_eq!(places.missing(descriptors, 100, wanted), enough, "{descriptors} for {wanted:?}");
        }
    }
}
