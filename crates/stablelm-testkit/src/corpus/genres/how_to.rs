//! Articles that explain how a thing is done, step by step.

use crate::corpus::scene::Scene;
use crate::corpus::template::{Order, paragraphs, phrase, some_of};
use crate::random::Random;

/// A task: how it is named after "How to", and its steps in order.
struct Task {
    name: &'static str,
    steps: &'static [&'static str],
}

const TASKS: &[Task] = &[
    Task {
        name: "light the lamp of a lighthouse",
        steps: &[
            "Go up before {evening}, so that your eyes can get used to the dark.",
            "Open the shutters on the side of the sea and wipe the inside of the windows.",
            "Check that there is enough oil for the night, and fill the can if it is less than half full.",
            "Trim the wick straight with sharp scissors, because a crooked wick makes smoke.",
            "Light the wick with a long match and let it burn low for {minutes}.",
            "Turn the flame up slowly until it is white and does not tremble.",
            "Wind the clock that turns the lens, and count the first {number} turns.",
            "Write the time and the weather in the log before you sit down.",
        ],
    },
    Task {
        name: "mend a fishing net",
        steps: &[
            "Wash the net in fresh water and hang it up to dry in the wind.",
            "Look for the hole from both sides, and cut away every broken thread.",
            "Fill the needle with twine of the same thickness as the net.",
            "Begin at the top of the hole, where the mesh is still whole, and tie the twine with a double knot.",
            "Work from left to right and make each mesh as wide as two fingers.",
            "Pull every knot tight, because a loose knot will slip when the {fish} are in it.",
            "At the end of the row, turn the net over and go back the same way.",
            "Finish with three knots and burn the end of the twine over a candle.",
        ],
    },
    Task {
        name: "read a tide table",
        steps: &[
            "Find the page of the month and then the line of the day.",
            "The first two numbers are the times of high water, and the next two are the times of low water.",
            "Add {number} minutes if you are in {other_town}, because the tide comes there later.",
            "Look at the moon, for the tides are highest when it is full or new.",
            "Remember that a strong wind from the {direction} can hold the water back.",
            "Plan to be off the sand an hour before the tide turns.",
            "If you are not sure, ask the harbor master, who has never been wrong by more than {number} minutes.",
        ],
    },
    Task {
        name: "paint a wooden boat",
        steps: &[
            "Choose {number} dry days in {season} and turn the boat over on two beams.",
            "Scrape off the old paint with a flat iron, and be careful with the seams.",
            "Rub the wood smooth with sand and a piece of leather.",
            "Fill the seams with hemp and warm tar, and let the tar cool.",
            "Stir the {color} paint for {minutes}, until no oil swims on the top.",
            "Paint with long strokes from the bow to the stern, and never against the grain.",
            "Wait for a day before you give the boat a second coat.",
            "Paint the name last, in white, with a brush as thin as a feather.",
        ],
    },
    Task {
        name: "ring the fog bell",
        steps: &[
            "Watch the hill behind {town}, and go to the bell as soon as you can no longer see it.",
            "Take off the cover, wipe the bell dry and look whether the rope is sound.",
            "Stand with your feet apart and hold the rope with both hands.",
            "Pull once, wait for {number} breaths and pull again.",
            "Listen after each stroke, since a boat may answer with a horn.",
            "If you hear a horn, ring twice as fast until the boat is inside the harbor.",
            "Ask somebody to take your place after an hour, because tired arms ring badly.",
            "When the fog lifts, ring three times and put the cover back.",
        ],
    },
    Task {
        name: "gather {shellfish} on the shore",
        steps: &[
            "Start when the tide is still falling, and follow the water out.",
            "Take a basket, a short knife and a friend who knows the sand.",
            "Look under the weed and in the pools, but put every stone back as it was.",
            "Leave the small ones, for they will be large ones next {season}.",
            "Keep what you have found in a wet cloth and out of the sun.",
            "Look back at {light} from time to time, so that you know where you are.",
            "Turn around when the first pool begins to fill, however empty the basket is.",
            "Wash everything in clean sea water before you carry it home.",
        ],
    },
    Task {
        name: "cross the bay in a small boat",
        steps: &[
            "Ask about the weather {place}, and listen to the oldest person there.",
            "Put a rope, a lantern, a bucket and some bread into the boat.",
            "Push off at slack water, when the sea is still.",
            "Row toward {light} until the two towers stand in one line, and then turn to the {direction}.",
            "Keep the waves in front of you, and do not stand up for any reason.",
            "Stay away from {ferry}, which cannot turn as quickly as you can.",
            "Tie the boat with two knots when you arrive, and leave some rope for the tide.",
        ],
    },
    Task {
        name: "keep a fire through the night",
        steps: &[
            "Clear the old ashes from the stove, but leave the warm coals at the back.",
            "Lay thin sticks of driftwood over the coals and blow until they catch.",
            "Add {number} pieces of dry timber, the largest of them at the bottom.",
            "Open the flue until the smoke goes straight up, and then close it by half.",
            "Put the kettle on the {small} side of the stove, where it will stay warm.",
            "Before you sleep, cover the fire with a layer of ash as thick as a hand.",
            "Look at it once, {minutes} later, because that is when a bad fire goes out.",
            "At {morning} rake the ash away, and the coals will be red below it.",
        ],
    },
    Task {
        name: "send a signal with flags",
        steps: &[
            "Stand {place}, where nothing behind you has the color of the flags.",
            "Hold a {color} flag in your left hand and a white one in your right.",
            "Wave both flags over your head until the other side answers.",
            "Make each sign slowly, hold it for {number} breaths and lower your arms.",
            "Spell the name of the boat first, and then say what she needs.",
            "Repeat every number, because a wrong number has sunk more than one {vessel}.",
            "Wait for the answer, and write it down before you do anything else.",
            "End with both flags pointing to the ground, which means that you have understood.",
        ],
    },
    Task {
        name: "dry {fish} for the winter",
        steps: &[
            "Clean the {fish} on the day when they are caught, and wash them in sea water.",
            "Rub them with salt on both sides and lay them in a barrel.",
            "After {number} days take them out and let the salt water run off.",
            "Tie them in pairs by the tail with thin twine.",
            "Hang them on the racks {place}, where the wind comes from the {direction}.",
            "Turn them every morning, and chase away the {bird}.",
            "Bring them in when it rains, for wet {fish} will not keep.",
            "They are ready when they sound like wood and smell like the sea.",
        ],
    },
];

const OPENING: &[&str] = &[
    "In {town} everyone knows how to {task}, and this is how it is done.",
    "The first time that {child} tried to {task}, everything went wrong.",
    "It takes patience to {task}, but it is not hard when somebody shows you the way.",
    "{keeper} of {light} was once asked how to {task}, and {they} gave this answer.",
    "My {relative} taught me how to {task} when I was {number} years old.",
    "There is a book in {building} of {town} that tells you how to {task}.",
];

const REASON: &[&str] = &[
    "People in {region} say that there are {number} wrong ways and one right way.",
    "You will need steady hands, warm clothes and most of a morning.",
    "It is an old skill, and the children of {town} learn it before they learn to write.",
    "Do it slowly, and stop when the weather changes.",
    "The best month for it is {month}, when there is {wind}.",
    "I have seen {captain} do it in the dark, but you should have good light.",
    "They do it differently in {other_town}, and the result can be seen from {distance} away.",
    "A person who hurries will have to do it twice.",
];

const CLOSING: &[&str] = &[
    "With some practice you will need less than {minutes}.",
    "When the work is done, have a cup of tea and look at the sea.",
    "If it does not work, wait for the next tide and begin again.",
    "{Keeper_first} did it every day for {number} years and still found something to improve.",
    "The keeper will tell you whether it is good enough, and the keeper is always right.",
    "In {town} a person who can do this well never has to pay for {meal}.",
    "Teach it to somebody else, and you will see what you have forgotten.",
    "Then thank the people who helped you, and share what you have with them.",
];

pub(in crate::corpus) fn write(scene: &mut Scene, random: &mut Random) -> (String, String) {
    let task = random.pick(TASKS);
    let shellfish = phrase("{shellfish}", scene, random);
    scene.set("shellfish", shellfish);
    let name = phrase(task.name, scene, random);
    let title = format!("How to {name}");
    scene.set("task", name);

    let mut opening = some_of(OPENING, 1, 1, Order::Any, scene, random);
    opening.extend(some_of(REASON, 1, 2, Order::Any, scene, random));
    let steps = some_of(task.steps, 5, 7, Order::AsWritten, scene, random);
    let closing = some_of(CLOSING, 1, 2, Order::Any, scene, random);
    (title, paragraphs(&[opening, steps, closing]))
}
