//! The forms in which an engine's connections are served. Each distinct form is kept once; a connection has its number.
//!
//! **Invariant:** a form is kept exactly as long as a connection uses it, so there are never more forms than connections,
//! which are limited. No form is refused, and none outlives the connections of the client that asked for it. The number of a
//! form that is no longer used is given out again.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use crate::sse::Form;

#[derive(Debug, Default)]
pub(super) struct Forms {
    used: Slab<Used>,
    numbers: HashMap<Arc<Form>, u32>,
}

#[derive(Debug)]
struct Used {
    form: Arc<Form>,
    connections: u32,
}

impl Forms {
    /// The number of a form for one more connection, which gives it back with [`Forms::release`].
    pub(super) fn acquire(&mut self, form: Form) -> u32 {
        if let Some(number) = self.numbers.get(&form) {
            self.used[*number as usize].connections += 1;
            return *number;
        }
        let form = Arc::new(form);
        let number = self.used.insert(Used { form: Arc::clone(&form), connections: 1 });
        let number = u32::try_from(number).expect("fewer forms than descriptors");
        self.numbers.insert(form, number);
        number
    }

    /// Notes that one connection less uses a form, and forgets the form after the last.
    pub(super) fn release(&mut self, number: u32) {
        let used = &mut self.used[number as usize];
        used.connections -= 1;
        if used.connections == 0 {
            let Used { form, .. } = self.used.remove(number as usize);
            self.numbers.remove(&form);
        }
    }

    pub(super) fn at(&self, number: u32) -> &Form {
        &self.used[number as usize].form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Wire;

    fn form(wire: Wire, language: &str) -> Form {
        Form { wire, languages: vec![language.to_owned()], ..Form::default() }
    }

    /// Mutant: no form is ever forgotten.
    #[test]
    fn a_form_is_forgotten_with_its_last_connection_and_no_client_can_fill_the_table() {
        let mut forms = Forms::default();
        let hers = forms.acquire(form(Wire::Events, "es"));
        for number in 0..100_000 {
            let language = format!("x-{number}");
            let place = forms.acquire(form(Wire::Lines, &language));
            assert_eq!(forms.at(place).languages, [language]);
            forms.release(place);
        }
        assert_eq!((forms.used.len(), forms.numbers.len()), (1, 1), "one user is there");
        let many: Vec<u32> = (0..10_000).map(|number| forms.acquire(form(Wire::Lines, &number.to_string()))).collect();
        let late = forms.acquire(form(Wire::Lines, "pt"));
        assert_eq!(*forms.at(late), form(Wire::Lines, "pt"), "whoever comes late has their language too");
        for place in many {
            forms.release(place);
        }
        assert_eq!((forms.at(hers), forms.at(late)), (&form(Wire::Events, "es"), &form(Wire::Lines, "pt")));
    }

    #[test]
    fn connections_with_the_same_form_share_it() {
        let mut forms = Forms::default();
        let first = forms.acquire(form(Wire::Lines, "es"));
        assert_ne!(forms.acquire(form(Wire::Events, "es")), first);
        assert_eq!(forms.acquire(form(Wire::Lines, "es")), first);
        forms.release(first);
        assert_eq!(*forms.at(first), form(Wire::Lines, "es"), "another uses it");
        forms.release(first);
        assert_eq!((forms.used.len(), forms.numbers.len()), (1, 1));
    }
}
