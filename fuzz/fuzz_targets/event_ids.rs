//! An event id opens only if this log has made it, and to the position for which it has: no other spelling of the same
//! block, no id of another log, no text of any length.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pregon::event_id::{EventIds, Seal};
use pregon::notification::Position;

static IDS: LazyLock<EventIds> = LazyLock::new(|| EventIds::new(&Seal { epoch: 7, key: [7; 16] }));
static OTHERS: LazyLock<EventIds> = LazyLock::new(|| EventIds::new(&Seal { epoch: 8, key: [7; 16] }));

fuzz_target!(|input: &[u8]| {
    // The fuzzer has read ids out of comparisons; by chance nobody hits an epoch of 32 bits.
    if let Some(position) = IDS.open(input) {
        assert_eq!(IDS.of_entry(position).as_str().as_bytes(), input);
    }
    let Some((position, changes)) = input.split_first_chunk::<8>() else { return };
    let position = Position(u64::from_le_bytes(*position));
    let id = IDS.of_entry(position);
    assert_eq!(IDS.open(id.as_str().as_bytes()), Some(position));
    assert_eq!(OTHERS.open(id.as_str().as_bytes()), None);
    // The same id with some of its characters others, or longer, or shorter.
    let mut changed = id.as_str().as_bytes().to_vec();
    for change in changes.chunks_exact(2) {
        match usize::from(change[0]) {
            at if at < changed.len() => changed[at] = change[1],
            255 => changed.push(change[1]),
            _ => drop(changed.pop()),
        }
    }
    if changed != id.as_str().as_bytes() {
        assert_eq!(IDS.open(&changed), None);
    }
});
