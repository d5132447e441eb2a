//! Letters between people of the coast.

use crate::corpus::scene::Scene;
use crate::corpus::template::{Order, paragraphs, phrase, some_of};
use crate::random::Random;

const OPENING: &[&str] = &[
    "Thank you for your letter, which came on {ferry} with {thing}.",
    "I hope that this letter finds you {feeling} and that the roof no longer leaks.",
    "It is {season} again in {town}, and I think of you whenever the ferry bell rings.",
    "Your {relative} told me that you are back in {other_town}, and I am {feeling} to hear it.",
    "I have been {feeling} since I came to {town}, and I want to tell you why.",
];

const NEWS: &[&str] = &[
    "The harbor is full of boats this week because the {fish} have come early.",
    "We had {wind} for {number} days, and nobody could cross to {light}.",
    "{Baker} has made a new bread with {flour} and honey, and the whole street smells of it.",
    "{Child} has learned to row and goes out to the pier every morning before school.",
    "The keeper, {keeper}, lit the lamp at dusk and let me hold the match.",
    "Last night the sky was {sky}, and we sat {place} until the light came on.",
    "They have painted {building} {color}, and half of the town is angry about it.",
    "Your {relative} came for supper and ate {meal} as if the winter had been a year long.",
    "{Captain} says that the tides will be high this {month} and that we should move the boats.",
    "I found a green bottle on the beach with a letter in it, but the sea had washed the words away.",
    "There was dancing {place} during {festival}, and even the harbor master took off his hat.",
    "The {animal} that you left with us is well and sleeps beside the stove.",
    "We counted {number} seals on the sand at low water, and {child} gave each of them a name.",
    "A {vessel} came in with a broken mast, and the crew slept in {building}.",
    "I am learning to make {craft}, and my hands are sore but I am {feeling}.",
];

const THOUGHT: &[&str] = &[
    "I often think of the evening when we walked to {light} and had to run from the tide.",
    "Do you remember how {keeper_first} taught us to read the weather from the {bird}?",
    "When the fog is thick I can hear the bell, and then I know that {keeper_first} is awake.",
    "I would like to see the hills behind {other_town} again before the {season} is over.",
    "It is a quiet life, but the sea is never the same color for two days.",
    "Some people say that the ferry will stop in winter, and I do not know what we would do.",
];

const REQUEST: &[&str] = &[
    "If you come before {festival}, please bring {thing} and a warm coat.",
    "Please send {thing} with the next ferry, and I will send you a basket of {shellfish}.",
    "Write to me soon and tell me everything about {other_town}.",
    "Come and stay with us in {season}, when the water is warm and the {fish} are good.",
    "Tell your {relative} that I have kept the recipe and that I will bake it on Sunday.",
];

const FAREWELL: &[&str] = &[
    "With love from the harbor,",
    "Your friend by the sea,",
    "With all good wishes from {town},",
    "Until the next tide,",
];

pub(in crate::corpus) fn write(scene: &mut Scene, random: &mut Random) -> (String, String) {
    let friend = scene
        .name("friend")
        .expect("a scene has a friend")
        .to_owned();
    let greeting = vec![format!("Dear {friend},")];
    let mut first = some_of(OPENING, 1, 2, Order::Any, scene, random);
    first.extend(some_of(NEWS, 2, 3, Order::Any, scene, random));
    let mut second = some_of(THOUGHT, 1, 3, Order::Any, scene, random);
    second.extend(some_of(REQUEST, 1, 2, Order::Any, scene, random));
    let mut farewell = some_of(FAREWELL, 1, 1, Order::Any, scene, random);
    farewell.push(phrase("[{child}|{baker}|{captain}]", scene, random));

    let title = phrase("A letter from {town} to {friend}", scene, random);
    (title, paragraphs(&[greeting, first, second, farewell]))
}
