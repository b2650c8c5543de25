//! The words of English that the canonical form knows.

/// Words that name a moment which moves.
pub const TIMES: &str = "\
    today today's tonight tomorrow yesterday now nowadays latest newest current currently recent recently upcoming \
    presently ago date lately still anymore yesterday's tomorrow's tonight's forecast ongoing weather news";

/// Questions for the time itself.
pub const CLOCKS: &[&str] =
    &["what time is it", "what is the time", "what's the time", "what day is it", "which day is it"];

/// Spans that are moments behind "this", "last", "next" and "past".
pub const SPANS: &str = "\
    minute hour day days morning afternoon evening night week weekend month quarter year";

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

/// Words of which a capital makes another word.
const CAPITONYMS: &str = "\
    access act aids alien all amazon apple art august basic bath battle bill bolt boots bush cancer catholic chad \
    chase chat chip china chrome chuck cook cork cut dart democrat democratic django docker don dove drive edge \
    excel express flask ford frozen galaxy gap gates gemini gene go god guinea guy hamburg hamburger helm hive \
    internet it java jersey jobs jordan kafka labour lent liberal lima lisp mali march mercury meta mint mobile \
    mosaic nice niger opera oracle orange outlook pascal pharaoh phoenix pin polish puma ram react reading \
    republican rest rock rose ruby rush rust safari sat saturn scala scotch scratch scrooge scream seal sears shell \
    signal slack soap spark split spring square steam stripe subway swede swift target teams temple threads tide \
    titanic trinity turkey twitter up us venus visa vista vue wales war wasp welsh who will windows word zoom";

/// Those of them that are another word even where a question begins with them, which has a capital in any case.
const OPENING_CAPITONYMS: &str = "\
    amazon apple august bath cancer catholic chad china chrome cork democratic excel guinea java jobs jordan lima \
    march mercury mobile nice oracle orange polish reading republican ruby rust shell slack swift target turkey visa \
    welsh windows";

/// Words that every longer text in English has, and few in other languages.
pub const GLUE: &str = "\
    the what how is are of to and for does do with write which who when where why did his from this that my it list \
    give name explain between their has have by";

/// Units and the like of which another case is another one, and those that have no other.
pub const UNITS: &str = "\
    mL dL kWh kW kJ kHz pH PhD CDs DVDs TVs PCs Mr Ms Dr St Jo Ed Al La Le De El";

/// Words in front of an "I" that is a number or a letter.
pub const NUMBERED: &str = "\
    axis chapter class for grade group letter level of part phase point stage tier type variable volume war";

/// Words in front of a letter that names one of several.
pub const LABELLED: &str = "\
    bag dataset fund nucleotide candidate candidates dr mr mrs ms stock bank book box bus car cars cities city \
    companies company country firm group house job line machine option pen people person plan plant player point \
    points product room school section store student team town train truck worker";
/// Words of questions about how something is written, where a capital, a mark or a blank is the matter.
pub const FORM: &str = "\
    apostrophe apostrophes capitalise capitalised capitalization capitalize capitalized comma commas consonants \
    contraction contractions declarative exclamation grammar grammatical grammatically hyphen hyphens indentation \
    interrogative lowercase palindrome proofread punctuate punctuation spelling syllables typo typos uppercase \
    verbatim vowels whitespace";

/// Words that ask for a number of those below.
pub const COUNTS: &str = "\
    count counting length long many number";

/// What is counted in a text.
pub const COUNTED: &str = "\
    characters letters sentences signs symbols tokens words";

/// Words of questions about titles, which may begin with "please".
pub const TITLES: &str = "\
    album band lyrics recorded sang sing sings song sung title titled";

/// Words of tasks with a text that may end with thanks.
pub const TEXTS: &str = "\
    paraphrase pronounce rephrase reply respond rewrite say saying says translate translation";

/// Words with which a question begins, without what a contraction adds.
pub const INTERROGATIVES: &str = "\
    who whom whose what which where when why how is are was were am do does did can ca could will wo would shall \
    should may might must has have had analyze calculate check compute convert describe determine explain find get \
    give help identify list name show solve tell write";

/// What has a full stop and ends no sentence.
pub const SHORT: &str = "\
    dr mr mrs ms no st vs";

/// Words in front of an "I" that asks.
pub const ASKED: &str = "\
    am can could did do have may might must shall should was will would";

/// Words behind "how" that ask for an amount wherever they stand.
pub const AMOUNTS: &str = "\
    many much long far old often tall fast big";

/// Words that may stand in front of the one that asks.
pub const OPENERS: &str = "\
    and but so then or for in at by to from with on of about under into during through after before";

/// Words before "the" with which it turns what follows into something else.
const TURNING: &str = "\
    at beyond by for from in into of off on out to under with without all not";

/// Numbers in words, whose factorials have a mark that is no full stop.
const OPERANDS: &str = "\
    zero one two three four five six seven eight nine ten eleven twelve twenty hundred thousand";

/// Whether `word` is `small`, in whatever case.
pub fn is(word: &str, small: &str) -> bool {
    word.eq_ignore_ascii_case(small)
}

/// Whether `word` is one of `known`, in whatever case.
pub fn one_of(word: &str, known: &str) -> bool {
    known.split(' ').any(|known| is(word, known))
}

/// A word without the signs around it.
pub fn core(word: &str) -> &str {
    word.trim_matches(|sign: char| !sign.is_alphanumeric())
}

/// Whether one of `known` is in a text, in whatever case.
pub fn any(text: &str, known: &str) -> bool {
    let mut words = text.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty());
    words.any(|word| one_of(word, known))
}

/// Whether it may be a name or a word where a question begins with it.
pub fn is_opening_capitonym(word: &str) -> bool {
    one_of(word, OPENING_CAPITONYMS)
}

/// Whether a capital makes another word of it.
pub fn is_capitonym(word: &str) -> bool {
    one_of(word, CAPITONYMS)
}

/// The parts of a word with hyphens and the like.
pub fn parts(word: &str) -> impl Iterator<Item = &str> {
    let word = word.strip_suffix("'s").unwrap_or(word);
    word.split(|sign: char| !sign.is_alphanumeric() && sign != '.').filter(|part| !part.is_empty())
}

/// Whether "the" behind this word says nothing in front of "... of".
pub fn takes_of(before: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphabetic() || letter == '\'';
    !before.is_empty() && before.chars().all(is_word) && !one_of(before, TURNING)
}

/// Whether a mark behind the word may be a factorial's.
pub fn is_operand(word: &str) -> bool {
    core(word).chars().count() < 2 || one_of(core(word), OPERANDS)
}
