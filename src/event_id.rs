//! The opaque event id: a position of the log as a client may hold it.
//!
//! An id is one AES-128 block, `epoch (4 bytes) ‖ nonce (4) ‖ position (8)`, encrypted under a key that the store keeps,
//! in base64url: 22 characters of `[0-9A-Za-z_-]`. So nobody reads from two ids how much was published between them,
//! whoever makes one up hits the epoch with a chance of 2⁻³², and an id of another store, or of another epoch of
//! this one, is recognised as such.
//!
//! **Invariant:** [`EventIds::open`] gives a position only for an id that this store's [`EventIds::seal`] made in this
//! epoch. It is total: no input makes it panic or cost more than one block.
//!
//! The nonce makes two ids of the same position differ. A client that connects twice while only others were notified
//! must not learn it; so the ids of `hello` and `heartbeat` take a random nonce. What stands in the log has one id, without
//! a nonce, which every node and every replay gives it: whoever has it already knows it again.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::notification::Position;

/// Length of an event id, in characters.
pub const EVENT_ID_LENGTH: usize = 22;

/// The identity of a log: what makes its event ids its own.
#[derive(Clone)]
pub struct Seal {
    /// New whenever positions may have been used before for something else.
    pub epoch: u32,
    /// The key of the ids; secret.
    pub key: [u8; 16],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("epoch", &self.epoch).field("key", &"***").finish()
    }
}

/// An event id as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventId([u8; EVENT_ID_LENGTH]);

impl EventId {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes and reads the event ids of one log.
#[derive(Debug)]
pub struct EventIds {
    epoch: u32,
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl EventIds {
    /// The ids of the log with that seal.
    #[must_use]
    pub fn new(seal: &Seal) -> EventIds {
        let key = || UnboundCipherKey::new(&AES_128, &seal.key).expect("an AES-128 key has 16 bytes");
        EventIds {
            epoch: seal.epoch,
            encrypting: EncryptingKey::ecb(key()).expect("AES has ECB"),
            decrypting: DecryptingKey::ecb(key()).expect("AES has ECB"),
        }
    }

    /// The epoch as clients see it.
    #[must_use]
    pub fn epoch(&self) -> String {
        format!("{:08x}", self.epoch)
    }

    /// The id of the entry at that position; always the same.
    #[must_use]
    pub fn of_entry(&self, position: Position) -> EventId {
        self.seal(position, 0)
    }

    /// An id of that position unlike every other.
    #[must_use]
    pub fn fresh(&self, position: Position) -> EventId {
        let mut nonce = [0; 4];
        aws_lc_rs::rand::fill(&mut nonce).expect("the operating system has randomness");
        self.seal(position, u32::from_le_bytes(nonce))
    }

    fn seal(&self, position: Position, nonce: u32) -> EventId {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&self.epoch.to_le_bytes());
        block[4..8].copy_from_slice(&nonce.to_le_bytes());
        block[8..].copy_from_slice(&position.0.to_le_bytes());
        self.encrypting.encrypt(&mut block).expect("one whole block encrypts");
        let mut text = [0; EVENT_ID_LENGTH];
        URL_SAFE_NO_PAD.encode_slice(block, &mut text).expect("16 bytes are 22 characters");
        EventId(text)
    }

    /// The position behind an id; nothing if this log did not make it in this epoch.
    #[must_use]
    pub fn open(&self, id: &[u8]) -> Option<Position> {
        if id.len() != EVENT_ID_LENGTH {
            return None;
        }
        let mut block = [0; 16];
        // decode_slice asks for the room of a padded estimate, which is larger than the result.
        let mut room = [0; 18];
        if URL_SAFE_NO_PAD.decode_slice(id, &mut room).ok()? != block.len() {
            return None;
        }
        block.copy_from_slice(&room[..16]);
        self.decrypting.decrypt(&mut block, DecryptionContext::None).ok()?;
        let [e0, e1, e2, e3, _, _, _, _, position @ ..] = block;
        (u32::from_le_bytes([e0, e1, e2, e3]) == self.epoch).then(|| Position(u64::from_le_bytes(position)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(epoch: u32, key: u8) -> EventIds {
        EventIds::new(&Seal { epoch, key: [key; 16] })
    }

    proptest! {
        #[test]
        fn an_id_opens_to_its_position_and_has_only_safe_characters(position: u64, epoch: u32) {
            let ids = ids(epoch, 7);
            let id = ids.fresh(Position(position));
            prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert_eq!(ids.open(id.as_str().as_bytes()), Some(Position(position)));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            prop_assert_eq!(ids(1, 1).open(&bytes), None);
        }

        #[test]
        fn a_changed_character_is_refused(position: u64, at in 0..EVENT_ID_LENGTH, with in "[0-9A-Za-z_-]") {
            let ids = ids(3, 9);
            let id = ids.fresh(Position(position));
            let mut bytes = id.as_str().as_bytes().to_vec();
            bytes[at] = with.as_bytes()[0];
            prop_assume!(bytes != id.as_str().as_bytes());
            prop_assert_eq!(ids.open(&bytes), None);
        }
    }

    #[test]
    fn an_id_of_another_epoch_or_store_is_refused() {
        let id = ids(1, 1).fresh(Position(5));
        assert_eq!(ids(2, 1).open(id.as_str().as_bytes()), None);
        assert_eq!(ids(1, 2).open(id.as_str().as_bytes()), None);
    }

    #[test]
    fn an_entry_has_one_id_and_a_cursor_a_new_one_each_time() {
        let ids = ids(1, 1);
        assert_eq!(ids.of_entry(Position(5)), ids.of_entry(Position(5)));
        assert_ne!(ids.of_entry(Position(5)), ids.of_entry(Position(6)));
        assert_ne!(ids.fresh(Position(5)), ids.fresh(Position(5)));
    }
}
