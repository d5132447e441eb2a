//! Entries about towns in an encyclopedia of the coast.

use crate::corpus::scene::Scene;
use crate::corpus::template::{Order, paragraphs, some_of};
use crate::random::Random;

const OPENING: &[&str] = &[
    "{town} is a {small} harbor town in {region}, on the {direction} coast of Tarrow.",
    "{town} is a fishing town of about {hundreds} people in {region}.",
    "{town} is a {small} port in {region}, not far from {other_town}.",
    "{town}, in {region}, is [the oldest|the smallest|the last] of the harbor towns of Tarrow.",
    "{town} is a town of Tarrow, known for its {good} and for the lighthouse on {light}.",
];

const PLACE: &[&str] = &[
    "It lies between the sea and a low hill, and most of its houses are built of {stone}.",
    "The town stands on both sides of a small river that runs dry in {season}.",
    "The harbor opens to the {direction} and is safe in every wind but one.",
    "At low water the sand reaches almost to {light}, and people walk there to gather {shellfish}.",
    "A road along the cliffs joins it to {other_town}, and the ferry crosses the bay twice a day.",
    "The tides here are [high|slow|strong], and the pilots of {town} are known for their patience.",
    "In {season} the fog often stays until noon, and the bell on the pier is rung every {number} minutes.",
    "The marshes to the {direction} of the town are home to {bird} and to wild ponies.",
    "Its streets are so narrow that two people with baskets have to take turns.",
];

const HISTORY: &[&str] = &[
    "The town was founded in {year} by {number} families who came to trade in {good}.",
    "A lighthouse was built on {light} in {light_year}, after the loss of a {vessel} and all of her crew.",
    "The first keeper of the light was {keeper}, who tended the lamp for {number} years.",
    "In {later_year} a great storm broke the harbor wall, and the people rebuilt it in one summer.",
    "The charter of {charter_year} gave the town the right to hold a market every {ordinal} day of the month.",
    "In {famine_year} the baker {baker} fed the whole town through a hard winter, and a street is named after the family.",
    "For many years {town} and {other_town} argued over the fishing grounds near {light}.",
    "The {ordinal} pier was finished in {pier_year} and is still the longest in {region}.",
    "The captain {captain} sailed from here in {voyage_year} and came home with the first map of the coast.",
];

const WORK: &[&str] = &[
    "Most of its people live by fishing for {fish} and by making {craft}.",
    "The town sells {good} and buys timber, flour and lamp oil.",
    "The fish market opens at {morning} and is over before the church bell rings eight.",
    "The boats of {town} are painted {color}, so that they can be told from the boats of {other_town}.",
    "There are {number} bakeries, and each of them says that its bread is the oldest.",
    "The makers of {craft} have their own street, which smells of tar and warm wood.",
    "The ferry, {ferry}, carries {good} and passengers to {other_town} in all but the worst weather.",
    "Since {school_year} the school has taught every child to swim, to row and to read a tide table.",
];

const TODAY: &[&str] = &[
    "Every {season} the town holds {festival}, with lanterns on the boats and a supper on the pier.",
    "Visitors come to see {building} and to climb the {number} flights of stairs to the lamp.",
    "The lighthouse on {light} still burns, and the keeper lights the lamp at dusk.",
    "The motto of {town} is carved over the door of {building} and says that the tide waits for nobody.",
    "A small museum beside {building} keeps the old lens, the logs of the keepers and a model of {ferry}.",
    "It is said that nobody who has heard the bell of {town} in the fog can forget it.",
];

pub(in crate::corpus) fn write(scene: &mut Scene, random: &mut Random) -> (String, String) {
    let mut first = some_of(OPENING, 1, 1, Order::Any, scene, random);
    first.extend(some_of(PLACE, 2, 3, Order::Any, scene, random));
    let second = some_of(HISTORY, 2, 4, Order::Any, scene, random);
    let mut third = some_of(WORK, 2, 3, Order::Any, scene, random);
    third.extend(some_of(TODAY, 1, 2, Order::Any, scene, random));

    let title = scene.name("town").expect("a scene has a town").to_owned();
    (title, paragraphs(&[first, second, third]))
}
