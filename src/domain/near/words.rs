//! The words of English that the canonical form knows, by what they are asked for.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

// When.

/// Words that name a moment which moves.
pub static TIMES: List = List::new(
    "\
    today today's tonight tomorrow yesterday now nowadays latest newest current currently recent recently upcoming \
    presently ago date lately still anymore yesterday's tomorrow's tonight's forecast ongoing weather news monday \
    tuesday wednesday thursday friday saturday sunday monday's tuesday's wednesday's thursday's friday's saturday's \
    sunday's yet",
);

/// Questions for the time itself, and moments in several words.
pub const CLOCKS: &[&str] = &[
    "what time is it",
    "what is the time",
    "what's the time",
    "what day is it",
    "which day is it",
    "at the moment",
    "at present",
    "so far",
];

/// Words that point at a span.
pub static POINTERS: List = List::new("coming following last next past previous these this");

/// Spans that are moments behind one of those.
pub static SPANS: List = List::new(
    "\
    afternoon autumn century christmas day days decade easter election elections evening fall game holiday holidays \
    hour hours match minute minutes month months morning night nights quarter race season seasons semester spring \
    summer term time week weekend weeks winter year years",
);

/// Words behind which a month is one that comes or went, unless a year is named.
pub static DATES: List = List::new("by coming following in last late early next of past previous since this until");

/// The months.
pub static MONTHS: List = List::new(
    "\
    january february march april may june july august september october november december",
);

// Whether it is prose, and of what.

/// Words that every longer text in English has, and few in other languages.
pub static GLUE: List = List::new(
    "\
    the what how is are of to and for does do with write which who when where why did his from this that my it list \
    give name explain between their has have by in on",
);

/// Words of questions about how something is written, where a capital, a mark or a blank is the matter.
pub static FORM: List = List::new(
    "\
    abbreviation acronym anagram apostrophe apostrophes ascii autocomplete base64 blank blanks bytes capitalise \
    capitalised capitalization capitalize capitalized capitals caps checksum column columns comma commas consonants \
    continue contraction contractions correct courteous csv declarative decode delimited delimiter diff dot dots \
    encode encoded encoding exclamation formal formally formatting grammar grammatical grammatically hash hyphen \
    hyphens impolite incorrect indent indentation indented informal initials interrogative italic literally \
    lowercase manners md5 misspelled morse newline newlines palindrome paragraph paragraphs paraphrase phrased \
    phrasing polite politely politeness prompt pronounce pronounced proofread proper properly punctuate punctuated \
    punctuation quotation quote quoted quotes rephrase reverse reversed reword rewrite rude separated sha256 spaces \
    spacing spell spelled spelling spelt syllable syllables tokenize tokenized tokenizer transcribe translate \
    translated translation transliterate typed typing typo typographic typos unicode uppercase verbatim vowels \
    whitespace worded wording",
);

/// And what such questions have of several words.
pub const PHRASES: &[&str] = &[
    "a capital",
    "a command",
    "a character",
    "a period or",
    "a space",
    "after me",
    "am i",
    "begin with",
    "begins with",
    "code point",
    "comes next",
    "complete the line",
    "did i",
    "do i ask",
    "do i seem",
    "do i sound",
    "do i tell",
    "do you write",
    "does this begin",
    "does this end",
    "does this have",
    "does this sound",
    "does this start",
    "end with",
    "ends with",
    "fill in",
    "finish the",
    "first character",
    "full stop",
    "how many tokens",
    "i began",
    "i begin",
    "i end",
    "i forget",
    "i forgot",
    "i start",
    "i tell",
    "i told",
    "i used",
    "i write",
    "i wrote",
    "if i was",
    "in a period",
    "in here",
    "is it right",
    "is right",
    "is written",
    "last character",
    "line break",
    "line breaks",
    "lower case",
    "my english",
    "my post",
    "my question",
    "my writing",
    "next word",
    "one line",
    "period at",
    "question mark",
    "repeat after",
    "start with",
    "starts with",
    "that of me",
    "the space",
    "this a question",
    "this question",
    "to write",
    "upper case",
    "was i",
    "what character",
    "whether i was",
    "which character",
    "with a period",
    "write it",
    "written as",
    "wrong with",
    "you read",
];

/// What a text or a program is made of or judged by: the words of such a question where something is quoted.
pub static PARTS: List = List::new(
    "\
    bash bold characters code command compile compiler console copy correctly css error fail fails html invalid \
    javascript json letter letters line lines message messages missing parse parser php phrase print prints python \
    query repeat script sentence sentences shell sql string strings style symbol symbols syntax terminal text tone \
    valid word words xml yaml",
);

/// What "the ..." or "this ..." is the text that follows without a mark around it, or the question's own.
pub static MEANT: List = List::new(
    "\
    character letter letters message phrase sentence sentences string text word words",
);

/// Words that ask for a number of those below.
pub static COUNTS: List = List::new(
    "\
    count counting counts length long many number",
);

/// What is counted in a text.
pub static COUNTED: List = List::new(
    "\
    characters letters lines sentences string strings syllables symbols words",
);

/// What is written in a programming language.
pub static PROGRAMS: List = List::new(
    "\
    class function method program query regex script",
);

// Courtesy.

/// Words of tasks with a text, of which a "please" or thanks may be a part.
pub static SAYING: List = List::new(
    "\
    attitude butler classify comment email emotion feedback friendly harsh kindly letter mail mood nicely paraphrase \
    post pronounce rephrase reply respectful respond rewrite say saying says sentiment shorten spanish summarise \
    summarize thank thanked thanks translate translation tweet unfriendly warm warmth",
);

/// Words of questions about titles and words, which may be courtesy.
pub static TITLES: List = List::new(
    "\
    album band french german lyrics mean meaning means recorded sang sing sings song spanish sung title titled word \
    words wrote",
);

/// Words that end no request, so that the thanks behind belong to them.
pub static DANGLING: List = List::new(
    "\
    a an the of to in for with by",
);

// The first word.

/// First words that mean the same with a capital and without.
pub static OPENINGS: List = List::new(
    "\
    a act actor actress after an analyse analyze anyone are aren't as assume at because before build calculate can \
    can't choose compare compute could couldn't create define describe design determine develop did didn't discuss \
    do does doesn't don't dr. draft during each edit evaluate every explain fetch find for from generate get give \
    given had has have help her his how how's i i'd i've identify if imagine implement in introduce is isn't it it's \
    its let let's list make many most mr. mrs. ms. my name need on our people perform predict prove provide \
    recommend retrieve search select should show simplify since solve some somebody someone suggest summarise \
    summarize suppose tell that the their there there's these they this those to two was we we're were what what're \
    what's when when's where where's which while who who's whom whose why with would wouldn't write you you're your",
);

/// Those of them of which a sentence may say something.
pub static THINGS: List = List::new(
    "\
    anyone each every he how it many most she some somebody someone that there these they this those we what when \
    where which who whose why you",
);

/// What stands behind what a sentence says something of.
pub static SAYS_OF: List = List::new(
    "\
    is was has are were means equals beats plus minus times of",
);

/// Names that are no words.
pub static NAMES: List = List::new(
    "\
    aaron abby abe adam adrian aiden alan albert aleksandra alex alexander alfie alice alison allison amanda amy \
    andrea andrew angela angie anna anne anthony antonio arthur artie axel barbara barney becky benjamin bernard \
    bernie beth betsy beverly brandon brenda brian brittany bruce bryan carl carlos caroline catherine cathy charles \
    charlotte christina christine christopher cindy claire connie courtney craig cynthia daniel danielle dave david \
    deandre debbie deborah debra denise dennis derek diana diane donald donna donny doris dorothy doug douglas dylan \
    eddie edward edwin eleanor elise elizabeth ella ellen ellie emily emma eric erica erin ethan eugene evelyn \
    finley fiona frances francis fred freddie gabriel gary george gerald gloria greg gretchen hannah harold helen \
    howard isaac isabella jacob jacqueline jake james jamie jan jane janet janice janie jason jeannie jeff jeffrey \
    jenna jennifer jeremy jerry jessica jill jim jimmy joan joanna joel johnny jonathan jose joseph joshua joyce \
    juan judith judy julia julie justin karen katherine kathleen kathryn kathy katie keith kelly kenneth kevin kim \
    kimberly kristen kyle larry laura lauren lawrence lena leo leonard liam linda lisa liz lori louis louise lucas \
    lucia lucy luis luke madison maggie marcus margaret maria marie martha marvin mary matthew megan melissa mia \
    michael michelle miguel mike monica nadia nadine nancy natalie natasha nathan ned nicholas nicole nina noah nora \
    oliver olivia oscar owen pamela patricia patrick paul phil philip phillip rachel ralph raymond rebecca richard \
    rita robert roberta ronald rosa russell ryan sam samantha samuel sandra sara sarah scott sean sharon shawna \
    shirley simon sonia sophia sophie stanley stella stephanie stephen steve steven susan sylvia tamara tammy ted \
    teresa tessa theresa thomas tim timothy tina todd tony tracy tyler tyrone valerie vanessa vera veronica victoria \
    vincent violetta virginia walter wayne wendy william wilma yolanda zachary zack zoe",
);

/// Names that are nouns as well.
pub static NOUN_NAMES: List = List::new(
    "\
    april bob frank henry hunter jack john mark martin mason pat peter randy shannon tom",
);

/// What a noun does not do without an article.
pub static PERSON_VERBS: List = List::new(
    "\
    bought buys decides does gets goes had has is likes loves makes needs sells takes wants was went works",
);

/// Words for somebody who was named.
pub static PERSONS: List = List::new(
    "\
    he she his her him hers",
);

// The last mark.

/// Short words that are short for no other.
pub static SHORT_ENDS: List = List::new(
    "\
    air all atm day do end got he her him is it me not now old out saw she so too us yen you",
);

/// What has a full stop and ends no sentence.
pub static SHORTENED: List = List::new(
    "\
    approx corp dept dr etc inc mr mrs ms prof sept st vs",
);

/// Words in front of one that is meant as it is written.
pub static LITERALS: List = List::new(
    "\
    branch called character domain file folder hint key letter letters match matches name named password regex \
    sentence string text type url variable word words",
);

/// Words in a text that may end with what is to be printed.
pub static PRINTS: List = List::new(
    "\
    display displays echo filename folder grep hashtag hostname named output outputs password print printing prints \
    say says username",
);

/// What a number is in a program, where its dot makes it another one.
pub static NUMBERS: List = List::new(
    "\
    code decimal float int integer java javascript literal notation ordinal parse print prints python type",
);

/// Words that lead to a question: "in what", "if so, who".
pub static LEADS: List = List::new(
    "\
    about after as assuming at because before by during for from given if in into of on since suppose through to \
    under when while with",
);

/// Words that join a question to what stands before.
pub static JOINTS: List = List::new(
    "\
    and then so but or",
);

/// Words that ask where a sentence leads to them.
pub static ASKING: List = List::new(
    "\
    what who whom whose how",
);

/// Words that ask where they come first.
pub static ASKING_FIRST: List = List::new(
    "\
    who whom whose is are am was does did can could would has",
);

/// Words that ask where they come first and somebody is named behind them.
pub static TURNED: List = List::new(
    "\
    do have had should were will may might must shall",
);

/// Words that ask wherever "you" or the like stands behind them.
pub static TURNING: List = List::new(
    "\
    is are was were does did can could will would should has",
);

/// Words behind "how" that ask for an amount.
pub static AMOUNTS: List = List::new(
    "\
    many much long far old often tall fast big high",
);

/// Words behind "when" and the like that make a question.
pub static VERBS: List = List::new(
    "\
    is are am was were do does did can could will would shall should may might must has have had",
);

/// Words behind "what" that make no question: "what he said".
pub static SUBJECTS: List = List::new(
    "\
    i you he she it we they there the a an this that these those my your his her its our their follows matters",
);

/// Words for who does it.
pub static PRONOUNS: List = List::new(
    "\
    i you he she it we they there",
);

/// Words that ask for something to be done.
pub static TASKS: List = List::new(
    "\
    analyze calculate check compute convert describe determine explain find get give help identify list name show \
    solve tell write",
);

/// A list of words, looked up in whatever case.
pub struct List {
    text: &'static str,
    words: OnceLock<HashSet<&'static str>>,
}

impl List {
    const fn new(text: &'static str) -> Self {
        Self { text, words: OnceLock::new() }
    }

    /// Whether `word` is one of them.
    pub fn has(&self, word: &str) -> bool {
        let words = self.words.get_or_init(|| self.text.split_whitespace().collect());
        match word.bytes().any(|letter| letter.is_ascii_uppercase()) {
            true => words.contains(&*word.to_ascii_lowercase()),
            false => words.contains(word),
        }
    }

    /// Whether one of them is in `text`.
    pub fn is_in(&self, text: &str) -> bool {
        parts(text).any(|word| self.has(word))
    }
}

/// A word without the signs around it.
pub fn core(word: &str) -> &str {
    word.trim_matches(|sign: char| !sign.is_alphanumeric())
}

/// What is made of letters and digits in a text.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether one of [`PHRASES`] stands in front, in a text in lower case.
pub fn begins_phrase(words: &[&str]) -> bool {
    static BY_FIRST: OnceLock<HashMap<&str, Vec<Vec<&str>>>> = OnceLock::new();
    let by_first = BY_FIRST.get_or_init(|| {
        let mut all: HashMap<&str, Vec<Vec<&str>>> = HashMap::new();
        for phrase in PHRASES {
            let words: Vec<&str> = phrase.split(' ').collect();
            all.entry(words[0]).or_default().push(words);
        }
        all
    });
    let phrases = words.first().and_then(|first| by_first.get(first));
    phrases.is_some_and(|phrases| phrases.iter().any(|phrase| words.starts_with(phrase)))
}
