//! Closed sets of words. One declaration gives the enum, its words on the wire, in the database and in metric labels, and
//! the way back from a word. A leaf: every layer may use it, it uses none.

/// A text that is not a word of a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {set} {text:?}: {}", listed(.words))]
pub struct UnknownWord {
    /// What the set is called.
    pub set: &'static str,
    /// The text.
    pub text: String,
    /// The words that the set has.
    pub words: &'static [&'static str],
}

/// `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => "it has none".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Where each word of one set is in another, for [`into_set`].
#[must_use]
pub(crate) const fn places<const N: usize>(from: &[&str], to: &[&str]) -> [usize; N] {
    let mut places = [0; N];
    let mut word = 0;
    while word < N {
        let mut place = 0;
        while place < to.len() && !same(from[word].as_bytes(), to[place].as_bytes()) {
            place += 1;
        }
        assert!(place < to.len(), "the other set lacks a word of this one");
        places[word] = place;
        word += 1;
    }
    places
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Declares a set: `pub Colour "colour" { Red "red", }`. The text after the name is what errors call the set.
macro_rules! closed {
    ($(#[$meta:meta])* $vis:vis $name:ident $set:literal { $($(#[$of_value:meta])* $value:ident $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$of_value])* $value,)* }

        #[allow(dead_code, unreachable_pub, reason = "not every set is used in every way, or everywhere")]
        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];
            /// Their words, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// Its word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::closed::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$value),)*
                    _ => Err($crate::closed::UnknownWord { set: $set, text: text.to_owned(), words: Self::WORDS }),
                }
            }
        }
    };
}
pub(crate) use closed;

/// Declares a set whose words go over the wire: with serde, and as an enum of the OpenAPI document.
// `tt`, since utoipa does not look into the group that a `literal` is passed on in.
macro_rules! wire {
    ($(#[$meta:meta])* $vis:vis $name:ident $set:literal { $($(#[$of_value:meta])* $value:ident $word:tt,)* }) => {
        $crate::closed::closed! {
            #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
            $(#[$meta])*
            $vis $name $set { $($(#[$of_value])* #[serde(rename = $word)] $value $word,)* }
        }
    };
}
pub(crate) use wire;

/// Makes each value of one set the value of another that has the same word; does not compile when there is none. For
/// labels of metrics, which are a set of their own because telemetry knows no layer.
macro_rules! into_set {
    ($from:ty => $to:ty) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                const PLACES: [usize; <$from>::WORDS.len()] = $crate::closed::places(<$from>::WORDS, <$to>::WORDS);
                Self::ALL[PLACES[value as usize]]
            }
        }
    };
}
pub(crate) use into_set;

#[cfg(test)]
mod tests {
    closed! {
        /// For this test.
        Colour "colour" {
            /// Like a rose.
            Red "red",
            /// Like a plum.
            DarkBlue "dark-blue",
        }
    }

    #[test]
    fn words_come_back_and_others_are_refused_by_name() {
        for colour in Colour::ALL {
            assert_eq!(colour.to_string().parse(), Ok(*colour));
        }
        let refused = "blue".parse::<Colour>().unwrap_err().to_string();
        assert_eq!(refused, "no colour \"blue\": red or dark-blue");
    }

    closed! {
        /// More colours, in another order.
        Paint "paint" {
            /// Like the sea.
            DarkBlue "dark-blue",
            /// Like grass.
            Green "green",
            /// Like a rose.
            Red "red",
        }
    }
    into_set!(Colour => Paint);

    #[test]
    fn values_pass_to_another_set_by_their_word() {
        let paints: Vec<Paint> = Colour::ALL.iter().map(|colour| Paint::from(*colour)).collect();
        assert_eq!(paints, [Paint::Red, Paint::DarkBlue]);
    }
}
