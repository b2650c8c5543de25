//! The few words of English that the canonical form knows.

/// Words that name a moment which moves.
pub const TIMES: &[&str] = &[
    "today",
    "today's",
    "tonight",
    "tomorrow",
    "yesterday",
    "now",
    "nowadays",
    "latest",
    "newest",
    "current",
    "currently",
    "recent",
    "recently",
    "upcoming",
    "presently",
    "ago",
    "date",
    "weather",
    "news",
];

/// Spans that are moments behind "this", "last", "next" and "past".
pub const SPANS: &[&str] = &[
    "minute",
    "hour",
    "day",
    "morning",
    "afternoon",
    "evening",
    "night",
    "week",
    "weekend",
    "month",
    "quarter",
    "year",
];

/// Thanks at the end of a request, the longest first.
pub const THANKS: &[&[&str]] = &[
    &["thank", "you", "very", "much"],
    &["thank", "you", "so", "much"],
    &["thanks", "in", "advance"],
    &["thank", "you"],
    &["many", "thanks"],
    &["thanks"],
    &["please"],
];

/// Contractions that are not a word and an ending.
pub const CONTRACTIONS: &[(&str, &str)] =
    &[("can't", "can not"), ("cannot", "can not"), ("won't", "will not"), ("shan't", "shall not"), ("ain't", "ain't")];

/// Endings with one meaning only; `'s` and `'d` have several, and stay.
pub const ENDINGS: &[(&str, &str)] = &[("n't", "not"), ("'re", "are"), ("'m", "am"), ("'ll", "will"), ("'ve", "have")];

/// Words of which a capital makes another word, where a sentence may leave open which is meant.
const CAPITONYMS: &[&str] = &[
    "A",
    "US",
    "IT",
    "WHO",
    "Who",
    "AIDS",
    "SAT",
    "ACT",
    "ICE",
    "PIN",
    "RAM",
    "REST",
    "SOAP",
    "Polish",
    "Turkey",
    "March",
    "May",
    "August",
    "Rust",
    "Swift",
    "Go",
    "Ruby",
    "Apple",
    "Windows",
    "Amazon",
    "Java",
    "China",
    "Chad",
    "Jordan",
    "Mercury",
    "God",
    "Catholic",
    "Democrat",
    "Democratic",
    "Republican",
    "Mass",
    "Nice",
    "Reading",
    "Mobile",
    "Bill",
    "Mark",
];

/// Before these an article counts: "a few" is not "few", "the who" is a band.
const NEEDS_ARTICLE: &[&str] = &[
    "who", "what", "which", "where", "when", "why", "how", "few", "little", "lot", "bit", "one", "other", "others",
    "same", "and", "or", "to", "in", "on", "of", "for", "is", "are", "was", "were", "a", "an", "the",
];

/// Words in front of which "Thank you" is what the question is about.
const ABOUT_WORDS: &[&str] = &[
    "say",
    "says",
    "said",
    "saying",
    "write",
    "spell",
    "pronounce",
    "mean",
    "means",
    "word",
    "words",
    "phrase",
    "translate",
    "titled",
    "song",
    "album",
];

/// Whether `word` is `small`, in whatever case.
pub fn is(word: &str, small: &str) -> bool {
    word.eq_ignore_ascii_case(small)
}

/// Whether a capital makes another word of it.
pub fn is_capitonym(word: &str) -> bool {
    CAPITONYMS.contains(&word)
}

/// Whether an article in front of `word` says nothing.
pub fn takes_article(word: &str) -> bool {
    !NEEDS_ARTICLE.iter().any(|known| is(word, known))
}

/// Whether thanks behind `word` may be what is asked about.
pub fn is_about_words(word: &str) -> bool {
    ABOUT_WORDS.iter().any(|known| is(word, known))
}
