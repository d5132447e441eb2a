//! Questions that visitors ask, with answers.

use crate::corpus::scene::Scene;
use crate::corpus::template::{Order, paragraphs, phrase, sentence, some_of};
use crate::random::Random;

/// A question in several wordings, and sentences of which an answer takes some, in order.
struct Topic {
    questions: &'static [&'static str],
    answers: &'static [&'static str],
}

const TOPICS: &[Topic] = &[
    Topic {
        questions: &[
            "Why does the bell ring in the fog?",
            "Why do I hear a bell in {town} when it is foggy?",
        ],
        answers: &[
            "The bell tells the boats where the harbor is when they cannot see the light.",
            "It is rung every {number} minutes, by hand, for as long as the fog lasts.",
            "The bell of {town} has a deep voice and the bell of {other_town} has a high one, so that no pilot can mix them up.",
            "When the fog lifts, the keeper rings it once more to say that all is well.",
        ],
    },
    Topic {
        questions: &[
            "When does the ferry leave?",
            "When can I cross from {town} to {other_town}?",
        ],
        answers: &[
            "The ferry, {ferry}, leaves from the stairs at {morning} and comes back at {evening}.",
            "It does not wait for late passengers, because the tide does not wait for the ferry.",
            "In {season} there is a second crossing at noon, and it costs {number} pennies.",
            "Animals travel for free if they sit on the left side.",
            "If there is a storm, a red flag is raised on {building} and nobody crosses.",
        ],
    },
    Topic {
        questions: &[
            "How high are the tides?",
            "How do I know when the tide will turn?",
        ],
        answers: &[
            "The tide in {region} rises and falls twice a day, and at full moon it rises most.",
            "A table of the tides hangs {place}, and every child in {town} can read it.",
            "The water comes in faster than a person can walk, so never cross the sand without asking.",
            "The old people watch the {bird}, which leave the sand shortly before the water returns.",
        ],
    },
    Topic {
        questions: &[
            "May I climb the lighthouse?",
            "Who looks after the lighthouse on {light}?",
        ],
        answers: &[
            "The keeper of the light on {light} is {keeper}, and {they} is glad to have visitors in the morning.",
            "There are {number} flights of stairs and no handrail on the last of them.",
            "The keeper lights the lamp at dusk and puts it out at dawn, and in the night nobody may disturb {them}.",
            "From the gallery you can see the whole bay, and on clear days the roofs of {other_town}.",
            "It is polite to bring {thing} as a present.",
        ],
    },
    Topic {
        questions: &[
            "What should I eat in {town}?",
            "What do people eat in {region}?",
        ],
        answers: &[
            "Most people eat fish, and in {season} they eat {fish} with {root} and a little butter.",
            "The bakery of {baker} opens at {morning}, and the bread with {flour} is usually gone an hour later.",
            "During {festival} there is a long table on the pier, and strangers are asked to sit down first.",
            "The {shellfish} are best in cold months, and they should be eaten with bread and nothing else.",
        ],
    },
    Topic {
        questions: &[
            "Why are the boats painted {color}?",
            "Why are the boats of {town} all {color}?",
        ],
        answers: &[
            "Every harbor in {region} has a color, so that a boat can be known from far away.",
            "The boats of {town} have been {color} since {year}, when a ship brought too much of that paint.",
            "The names on the boats are always white, and it is bad luck to change them.",
            "The paint also keeps the wood dry, so each boat gets a new coat every {season}.",
        ],
    },
    Topic {
        questions: &[
            "Who was {captain}?",
            "Why is there a statue of {captain} in {town}?",
        ],
        answers: &[
            "{captain} was a pilot of {town} who was born in {year} and knew every rock in {region}.",
            "In a storm the captain brought {number} boats home, one after the other, with nothing but a lantern.",
            "The statue stands {place} and looks to the {direction}, where the storms come from.",
            "Children put a scarf on it in winter, and nobody has ever told them to stop.",
        ],
    },
    Topic {
        questions: &["What is {festival}?", "How do I take part in {festival}?"],
        answers: &[
            "It is a feast that {town} holds every {season}, when the boats have come home.",
            "People put lanterns in their windows, and the keeper makes the light turn more slowly.",
            "There is music {place}, and the baker gives away bread in the shape of a fish.",
            "Visitors are welcome, and all they have to bring is a cup and a song.",
        ],
    },
    Topic {
        questions: &[
            "Can I buy {craft} in {town}?",
            "Where can I see how {craft} are made?",
        ],
        answers: &[
            "Several families in {town} make {craft}, and their doors are open on most days.",
            "The best time to come is in {season}, when the boats are on land and people have time to talk.",
            "The work is learned in {number} years, and the first of them is spent watching.",
            "The price is fair, and it is not polite to ask for a lower one.",
        ],
    },
    Topic {
        questions: &["Is it safe to swim in the bay?", "Where do people swim?"],
        answers: &[
            "The bay is safe near the pier, where the water is calm and somebody always watches.",
            "Do not swim near {light}, because the current there is strong even in calm weather.",
            "The water is cold until {month}, but that does not stop the children.",
            "If a {color} flag is raised on {building}, everyone must come out of the water.",
        ],
    },
    Topic {
        questions: &["Is {light} haunted?", "Why does nobody sleep on {light}?"],
        answers: &[
            "People say that a keeper still walks on {light}, and that his lantern can be seen in {month}.",
            "What they see is the moon on the wet rocks, or so {keeper} says.",
            "The sound at night comes from the {bird}, which nest below the lamp.",
            "The only thing that has ever been stolen there is {thing}, and the thief was a {animal}.",
        ],
    },
    Topic {
        questions: &[
            "How does a letter get to {light}?",
            "How do the keepers get their mail?",
        ],
        answers: &[
            "The mail boat goes out to {light} every {ordinal} day if there is no storm.",
            "The letters are put into a tin box, because the landing is always wet.",
            "When the boat cannot land, the keeper lets down a basket on a rope of {number} fathoms.",
            "In a bad winter the mail may be late by {number} weeks, and then all of it comes at once.",
            "A letter to the keepers costs nothing, and they answer every one of them.",
        ],
    },
    Topic {
        questions: &["Where can I sleep in {town}?", "Is there an inn in {town}?"],
        answers: &[
            "There is an inn {place}, with {number} rooms and a {color} door.",
            "It is full during {festival}, so write to the innkeeper before {month}.",
            "Breakfast is {meal}, and it is served until the ferry leaves.",
            "If the inn is full, ask at {building}, for somebody always has a bed.",
            "In {season} some visitors sleep on the beach, but the tide has surprised a few of them.",
        ],
    },
];

pub(in crate::corpus) fn write(scene: &mut Scene, random: &mut Random) -> (String, String) {
    for key in ["color", "season"] {
        let choice = phrase(&format!("{{{key}}}"), scene, random);
        scene.set(key, choice);
    }
    let num_topics = random.between(2, 3);
    let mut blocks = Vec::new();
    for place in random.places(num_topics, TOPICS.len()) {
        let topic = &TOPICS[place];
        let question = *random.pick(topic.questions);
        blocks.push(vec![format!(
            "Question: {}",
            sentence(question, scene, random)
        )]);
        // Two answers have to be longer than each of three.
        let least = 6 - num_topics;
        let mut answer = some_of(
            topic.answers,
            least.min(4),
            4,
            Order::AsWritten,
            scene,
            random,
        );
        answer[0].insert_str(0, "Answer: ");
        blocks.push(answer);
    }
    let title = phrase(
        "Questions about [{town}|the coast near {town}]",
        scene,
        random,
    );
    (title, paragraphs(&blocks))
}
