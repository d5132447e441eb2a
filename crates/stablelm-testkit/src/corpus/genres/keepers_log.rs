//! Pages from the logs of lighthouse keepers.

use crate::corpus::scene::Scene;
use crate::corpus::template::{Order, paragraphs, phrase, some_of};
use crate::random::Random;

const HEADING: &[&str] = &[
    "{month} {day}. The sky is {sky} and the sea is {sea}.",
    "{month} {day}. We have {wind}, and the sea is {sea}.",
    "{month} {day}. {Wind} since {morning}, and the sky is {sky}.",
];

const MORNING: &[&str] = &[
    "Put out the lamp at {morning} and {job}.",
    "At {morning} I {job}, and after breakfast I {job}.",
    "The tide was low at {morning}, and I walked over the sand to look for {shellfish}.",
    "A flock of {bird} rested on the gallery and left when I opened the door.",
    "I counted {number} boats from {town} on their way to the {fish}.",
    "Found a small bird asleep under the lantern and carried it out of the wind.",
    "There was ice on the stairs, and I put down sand before I {job}.",
];

const DAY: &[&str] = &[
    "At noon {ferry} passed to the {direction} of the rock with her flag up.",
    "The supply boat came from {town} and brought {thing} and {thing}.",
    "{Visitor} came out from {town}, climbed the tower and asked how far the light can be seen.",
    "{Child} came with the boat and was allowed to polish the brass.",
    "I wrote to {friend} in {other_town} and asked for {thing}.",
    "The fog came in from the {direction}, and I rang the bell every {number} minutes until {evening}.",
    "{Captain} brought news that a {vessel} had lost her mast near {other_town}, but nobody was hurt.",
    "A seal slept on the landing all day and would not move for the boat.",
    "I painted the door {color}, as the old paint had not lasted the winter.",
    "The clock lost {number} minutes, so I cleaned it and set it by the sun.",
];

const LAMP: &[&str] = &[
    "Lit the lamp at {evening}.",
    "I lit the lamp at {evening} and it burned well all night.",
    "The keeper lit the lamp at dusk, as the book says, and the keeper was me.",
    "I lit the lamp at {evening} and wound the clock.",
    "Lit the lamp early because the sky was {sky}.",
];

const NIGHT: &[&str] = &[
    "The keeper of {other_town} answered our signal at {evening}.",
    "Supper was {meal}, and then I read until the watch was over.",
    "In the night a {vessel} came close to the rocks, but she saw the light and turned in time.",
    "The wind rose after midnight and the tower hummed like a bell.",
    "There were so many stars that I could see the shape of the hills behind {town}.",
    "Used {number} pints of oil.",
    "All is well with the light.",
];

const CLOSING: &[&str] = &[
    "The oil will last until the boat comes again. {keeper}, keeper of the light.",
    "Nothing more to report. {keeper}, keeper of the light on {light}.",
    "The lens is clean, the clock is wound and the light is good. {keeper}, keeper.",
];

pub(in crate::corpus) fn write(scene: &mut Scene, random: &mut Random) -> (String, String) {
    let title = phrase("Log of the light on {light}, {month} {year}", scene, random);
    let num_days = random.between(2, 3);
    let first_day = random.between(1, 24);

    // A page with fewer days says more of each; nothing is said twice.
    let num_events = if num_days == 2 { 2 } else { 1 };
    let total = num_days * num_events;
    let mut mornings = some_of(MORNING, num_days, num_days, Order::Any, scene, random);
    let mut events = some_of(DAY, total, total, Order::Any, scene, random);
    let mut nights = some_of(NIGHT, num_days, num_days, Order::Any, scene, random);

    let mut pages = Vec::new();
    for day in 0..num_days {
        scene.set("day", (first_day + day).to_string());
        let mut page = some_of(HEADING, 1, 1, Order::Any, scene, random);
        page.extend(mornings.pop());
        page.extend(events.drain(..num_events));
        page.extend(some_of(LAMP, 1, 1, Order::Any, scene, random));
        page.extend(nights.pop());
        pages.push(page);
    }
    pages.push(some_of(CLOSING, 1, 1, Order::Any, scene, random));
    (title, paragraphs(&pages))
}
