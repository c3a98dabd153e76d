//! The forms in which one engine's connections are told, each kept once: a connection has only its number.
//!
//! **Invariant:** a number that was given out means the same form as long as the engine lives. There are at most
//! [`FORMS_MAX`]; whoever comes with yet another combination of languages is told in the publisher's own.

use std::collections::HashMap;

use crate::sse::Form;

/// Most forms, so that what clients send does not fill the memory.
const FORMS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Forms {
    all: Vec<Form>,
    places: HashMap<Form, u16>,
}

impl Forms {
    /// The number of a form.
    pub(super) fn place_of(&mut self, form: Form) -> u16 {
        if let Some(place) = self.places.get(&form) {
            return *place;
        }
        if self.all.len() >= FORMS_MAX && !form.languages.is_empty() {
            return self.place_of(Form { languages: Vec::new(), ..form });
        }
        let place = u16::try_from(self.all.len()).expect("few forms");
        self.all.push(form.clone());
        self.places.insert(form, place);
        place
    }

    /// The form of that number.
    pub(super) fn at(&self, place: u16) -> &Form {
        &self.all[usize::from(place)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Wire;

    #[test]
    fn each_form_has_one_place_and_there_are_not_too_many() {
        let mut forms = Forms::default();
        let form = |wire, language: &str| Form { wire, languages: vec![language.to_owned()] };
        let first = forms.place_of(form(Wire::Lines, "es"));
        assert_eq!(forms.place_of(form(Wire::Lines, "es")), first);
        assert_ne!(forms.place_of(form(Wire::Events, "es")), first);
        for number in 0..2 * FORMS_MAX {
            forms.place_of(form(Wire::Lines, &number.to_string()));
        }
        assert!(forms.all.len() <= FORMS_MAX + 2);
        let place = forms.place_of(form(Wire::Lines, "one more"));
        assert_eq!(*forms.at(place), Form { wire: Wire::Lines, languages: Vec::new() });
    }
}
