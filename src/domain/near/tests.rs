//! What is folded, and what never is: pairs of questions of many kinds whose answers differ.

use super::*;

mod pairs;

fn same(texts: &[&str]) {
    let forms: Vec<_> = texts.iter().map(|text| canonical(text)).collect();
    assert!(forms[0].is_some(), "{texts:?}");
    assert!(forms.iter().all(|form| *form == forms[0]), "{texts:?}: {forms:?}");
}

fn apart(texts: &[&str]) {
    let forms: Vec<_> = texts.iter().filter_map(|text| canonical(text)).collect();
    for (place, form) in forms.iter().enumerate() {
        assert!(!forms[..place].contains(form), "{texts:?}: {form}");
    }
}

#[test]
fn what_cannot_change_an_answer_is_folded() {
    same(&[
        "What's the capital of France and Spain?",
        "what’s  the  capital  of France and Spain\n",
        "Please what's the capital of France and Spain? Thank you.",
        "please, what's the capital of France and Spain Thank you.",
        "Please  please  what's  the  capital of France and Spain\r\n",
        "What's the capital of France and Spain.",
    ]);
    same(&[
        "Don't I need a visa for Japan and for Korea?",
        "don\u{2019}t I need a visa for Japan and for Korea",
        "please, don't I need a visa for Japan and for Korea?",
    ]);
    same(&["Did he say “no” to her twice then?", "did he say \"no\" to her twice then"]);
    same(&[
        "A train leaves at 10:30 from Rome. A bus leaves later.",
        "a train leaves at 10:30 from Rome. A bus leaves later",
    ]);
    same(&["If Ann has 1/4 of them, how many are there?", "if  Ann  has 1/4 of them,  how many are there"]);
    same(&["Mark sells 3 cakes to his friends. How many?", "mark sells 3 cakes to his friends. How many"]);
    same(&["Julie's cat has 4 kittens. What are they?", "please julie's cat has 4 kittens. What are they"]);
    same(&[
        "Write a function to count the letters of a string.",
        "write  a  function  to count the letters of a string",
    ]);
    same(&[
        "Explain the list to me:\nbread,  milk.",
        "explain  the  list to me:\nbread,  milk.\n",
        "Please explain the list to me:\nbread,  milk.",
    ]);
    same(&["\u{201c}Can you explain it to me?\u{201d}", "\"Can you explain it to me?\""]);
}

/// Questions of which no two may be given the same answer.
const APART: &[&[&str]] = &[
    &["how do I enable it here now", "how do I disable it here now", "how do I not enable it here now"],
    &["how do you say please in french", "how do you say thank you in french", "how do you say in french"],
    &["How do you say Please.", "How do you say Thank you.", "How do you say"],
    &[
        "what is 5!",
        "what is 5",
        "what is -5",
        "what is 5%",
        "what is $5",
        "what is 0.5",
        "what is .5",
        "what is five!",
        "what is five",
    ],
    &["a cheque for 1,000 euros and no more", "a cheque for 1 000 euros and no more"],
    &["il a mangé une pomme hier soir", "il mangé une pomme hier soir"],
    &["Let's eat, grandma, before the others come", "Let's eat grandma before the others come"],
    &["which songs did the who play at woodstock", "which songs did who play at woodstock"],
    &["please solve this equation for a", "please solve this equation for"],
    &["print (a, b) to the screen twice", "print (a b) to the screen twice", "print a, b to the screen twice"],
    // Numbers in words, units, dates.
    &["how much is one third of two dozen eggs", "how much is two thirds of two dozen eggs"],
    &[
        "how heavy is a load of 14 mg of salt",
        "how heavy is a load of 14 Mg of salt",
        "how heavy is a load of 14 g of salt",
    ],
    &[
        "how long does a 10 MB file take to load",
        "how long does a 10 Mb file take to load",
        "how long does a 10 mb file take to load",
    ],
    &["what is the power of a 5 mW source here", "what is the power of a 5 MW source here"],
    &[
        "what happened on 04.05.2019 in the city",
        "what happened on 05.04.2019 in the city",
        "what happened on 04.05.2020 in the city",
    ],
    &["is it 5 km from here to the sea", "is it 5 miles from here to the sea", "is it 5km from here to the sea side"],
    // Negation by a prefix, by a suffix, by one letter.
    &["is it legal to do that at home there", "is it illegal to do that at home there"],
    &["which of these are stable in water and air", "which of these are unstable in water and air"],
    &["is this a smoking room or what is it", "is this a non-smoking room or what is it"],
    &["what is a careful way to do it here", "what is a careless way to do it here"],
    &["why can he do it and she can't", "why can't he do it and she can", "why can he do it and she can"],
    // The order of operands and of roles.
    &["what is ten minus four in words of french", "what is four minus ten in words of french"],
    &["did the dog bite the man in the park", "did the man bite the dog in the park"],
    &["how do I convert from euros to dollars there", "how do I convert from dollars to euros there"],
    // Capitals that make another word.
    &["what are the laws of the US on that", "what are the laws of the us on that"],
    &["how do I use it for the polish people there", "how do I use it for the Polish people there"],
    &["does the IT department have to pay for this", "does the it department have to pay for this"],
    &["what does the turkey eat in the winter time", "what does the Turkey eat in the winter time"],
    &["how much does an apple cost in the store", "how much does an Apple cost in the store"],
    &["does vitamin A help against a cold or not", "does vitamin a help against a cold or not"],
    &["solve the two equations given above for X", "solve the two equations given above for x"],
    &["who is the WHO to say that it is so", "who is the who to say that it is so"],
    &["Polish: what does the word mean in english", "polish: what does the word mean in english"],
    &["what does \"Polish\" mean to you and to me", "what does \"polish\" mean to you and to me"],
    &["der Weg ist weg und kommt nicht mehr", "der weg ist Weg und kommt nicht mehr"],
    // Marks that carry the meaning.
    &["He has left the house of his father?", "He has left the house of his father."],
    &["Il vient demain avec sa mère ?", "Il vient demain avec sa mère ."],
    &["Hai mangiato la pasta con loro?", "Hai mangiato la pasta con loro."],
    &[
        "is it red, and blue or green for you",
        "is it red and blue, or green for you",
        "is it red and blue or green for you",
    ],
    &["I invited my parents, Ann and the king to it", "I invited my parents, Ann, and the king to it"],
    &["what is the value of (n)! in the text", "what is the value of (n) in the text"],
    &["what comes next: once upon a time...", "what comes next: once upon a time."],
    &["is the comma in this sentence right: I came, I saw.", "is the comma in this sentence right: I came, I saw"],
    &["how many words are in: I don't know it", "how many words are in: I do not know it"],
    &["the 1980's music of the town and us", "the 1980s music of the town and us"],
    &["the boys' books are on the table there", "the boy's books are on the table there"],
    // Articles.
    &["what is time", "what is the time", "what is a time"],
    &["is it out of the question for you and me", "is it out of question for you and me"],
    &["is the nurse in the charge of the doctor", "is the nurse in charge of the doctor"],
    &["a number of people came to see the show", "the number of people came to see the show"],
    &["explain a theory to the class of mine", "explain the theory to the class of mine"],
    // Titles and courtesy.
    &["please come home for christmas is a song by whom", "come home for christmas is a song by whom"],
    &["Please Please Me was recorded by whom and when", "Please Me was recorded by whom and when"],
    &["Translate to French: I will come. Thank you.", "Translate to French: I will come."],
    &["rewrite it nicer for me: send it. Thanks.", "rewrite it nicer for me: send it."],
    // Look-alikes, and signs that NFKC would turn into others.
    &["what is the word for pace in other tongues", "what is the word for pаce in other tongues"],
    &["what is the value of 2ⁿ in the text", "what is the value of 2n in the text"],
    &["what is x₂ in the text about it for", "what is x2 in the text about it for"],
    &["what is the set ℝ in the text about it", "what is the set R in the text about it"],
    &[
        "is ½ of it enough for the two of us",
        "is 1⁄2 of it enough for the two of us",
        "is 12 of it enough for the two of us",
    ],
    &["is Å the unit in the text about it for", "is A the unit in the text about it for"],
    // Blanks and lines.
    &["make a list of the\ntwo of them", "make a list of the two of them"],
    &["while it is so\n  do this\n  do that", "while it is so\n  do this\ndo that"],
    &["name\tage\tof the people in it", "name age\tof the people in it"],
    &["split this at blanks: \"a  b\" and tell me the parts", "split this at blanks: \"a b\" and tell me the parts"],
    &["I measured x .5 times and then it was gone", "I measured x. 5 times and then it was gone"],
];

#[test]
fn no_pair_with_two_answers_has_one_form() {
    let kinds =
        [pairs::CAPITALS, pairs::MARKS, pairs::WORDS, pairs::BLANKS, pairs::FORM, pairs::COURTESY, pairs::OTHERS]
            .concat();
    assert!(kinds.iter().all(|[one, other]| one != other));
    let hits = |one: &str, other: &str| canonical(one).is_some_and(|form| canonical(other) == Some(form));
    let wrong: Vec<_> = kinds.iter().filter(|[one, other]| hits(one, other)).collect();
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    // A "please" in front, thanks behind and a line's end change nothing about it.
    for [one, other] in kinds {
        for (front, behind) in [("Please ", ""), ("", " Thank you."), ("", "\n")] {
            let [one, other] = [one, other].map(|text| format!("{front}{text}{behind}"));
            assert!(one == other || !hits(&one, &other), "{one:?} {other:?}");
        }
    }
}

#[test]
fn what_may_change_an_answer_is_kept() {
    APART.iter().for_each(|texts| apart(texts));
}

#[test]
fn one_word_more_less_or_moved_is_another_question() {
    let texts = [
        "which of the two rivers is the longer one in the south of France",
        "write a short poem about a cat that does not like the rain in May",
        "If Ann has 3 apples and gives 1 to Bob, how many apples does she have?",
        "quel est le plus long fleuve du pays et pourquoi",
        "wie lange dauert es von hier bis zu der alten stadt",
    ];
    for text in texts {
        let words: Vec<&str> = text.split(' ').collect();
        for place in 0..words.len() {
            let mut without = words.clone();
            without.remove(place);
            apart(&[text, &without.join(" ")]);
            let mut moved = words.clone();
            moved.swap(place, (place + 1) % words.len());
            if moved != words {
                apart(&[text, &moved.join(" ")]);
            }
            let mut other = words.clone();
            other[place] = "zebra";
            apart(&[text, &other.join(" ")]);
            let mut negated = words.clone();
            negated.insert(place, "not");
            apart(&[text, &negated.join(" ")]);
        }
    }
}

#[test]
fn what_is_no_prose_has_no_form() {
    for text in [
        "",
        " \n",
        "what is f(x) at zero",
        "x = 5",
        "a | b",
        "what is x² at zero for me",
        "what is 5 + 3",
        "rust is what in the list of names",
        "us law is what in the list of names",
        "quel est le plus long fleuve du pays",
        "what is _this_ in the list of names",
        "the name of it is what?",
        "what is the file /home/ann of the list",
        "what is the list\nbread and milk",
    ] {
        assert_eq!(canonical(text), None, "{text:?}");
    }
    assert!(canonical(&format!("what is{}", " far".repeat(498))).is_some());
    assert_eq!(canonical(&format!("what is{}", " far".repeat(499))), None, "too long");
}

#[test]
fn words_of_time_are_found() {
    for (text, depends) in [
        ("what is the weather today", true),
        ("Latest news?", true),
        ("who won this week", true),
        ("what time is it in Rome", true),
        ("is he still the king of it", true),
        ("how many days has a week", false),
        ("what is the current", true),
        ("knowledge is power", false),
        ("who won last sunday", true),
        ("what did he do on Monday", true),
        ("what happened last December", true),
        ("what happens in may", true),
        ("what happened in December 1941", false),
        ("may I leave in the end", false),
        ("who won last season", true),
        ("what was the last election about", true),
        ("how do bears sleep in winter", false),
        ("what did I ask at the moment", true),
    ] {
        assert_eq!(depends_on_time(text), depends, "{text}");
    }
}
