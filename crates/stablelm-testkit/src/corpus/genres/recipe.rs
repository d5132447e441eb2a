//! Recipes, told in whole sentences.

use crate::corpus::scene::Scene;
use crate::corpus::template::{Order, paragraphs, phrase, some_of};
use crate::random::Random;

/// One kind of dish: what it is called, what goes in, and the steps in order.
struct Dish {
    name: &'static str,
    needs: &'static [&'static str],
    steps: &'static [&'static str],
}

const DISHES: &[Dish] = &[
    Dish {
        name: "[Harbor|Keeper's|Ferry|Winter] bread with {flour}",
        needs: &[
            "You will need {number} cups of {flour}, a spoon of salt, a spoon of honey and warm water.",
            "Take {number} cups of {flour}, a little yeast, a pinch of salt and a jug of warm milk.",
        ],
        steps: &[
            "First, stir the yeast into a cup of the warm liquid and wait until it begins to foam.",
            "Mix the {flour} with the salt in a large bowl and make a hollow in the middle.",
            "Pour in the warm liquid and stir with a wooden spoon until the dough is soft.",
            "Work the dough on a board for {minutes}, until it no longer sticks to your hands.",
            "Cover the bowl with a cloth and let the dough rise near the stove for {minutes}.",
            "Shape the dough into [a round loaf|two long loaves|small rolls] and cut a cross on the top.",
            "Bake the bread in a hot oven for {minutes}, until it sounds hollow when you knock on it.",
            "Let it cool on a rack, and do not cut it while it is hot.",
        ],
    },
    Dish {
        name: "[Fisher's|Bell Night|Gray Reach|Market] soup with {fish} and {root}",
        needs: &[
            "You will need a large {fish}, {number} {root}, an onion, some butter, a cup of milk and some {herb}.",
            "Take a piece of {fish}, {number} {root}, an onion, a lump of butter and a jug of milk.",
        ],
        steps: &[
            "First, clean the {fish} and cut it into pieces as long as your thumb.",
            "Wash the {root} and cut them into small cubes.",
            "Melt the butter in a heavy pot and cook the onion slowly until it is soft.",
            "Add the {root} and enough water to cover them, and let them simmer for {minutes}.",
            "Put in the {fish} and lower the heat, because it must not boil again.",
            "Stir in a cup of milk and season the soup with salt and pepper.",
            "Let the pot stand for {minutes} beside the fire, so that the taste can grow.",
            "Cut the {herb} very fine and scatter it over the soup before you serve it.",
        ],
    },
    Dish {
        name: "[Lantern|Sunday|Lighthouse|Festival] cake with {fruit}",
        needs: &[
            "You will need {number} eggs, a cup of sugar, a cup of butter, some {flour} and a bowl of {fruit}.",
            "Take a cup of sugar, a cup of butter, {number} eggs, two cups of {flour} and as many {fruit} as you like.",
        ],
        steps: &[
            "First, wash the {fruit} and cut the large ones in half.",
            "Beat the butter with the sugar until it is pale and light.",
            "Add the eggs one at a time and beat the mixture well after each of them.",
            "Fold in the {flour} with a spoon, and stop as soon as it is smooth.",
            "Spread the mixture in a buttered tin and press the {fruit} into the top.",
            "Bake the cake for {minutes}, and do not open the oven door before it is brown.",
            "When a thin stick comes out clean, take the cake out and let it rest.",
            "Dust it with sugar and cut it with a warm knife.",
        ],
    },
    Dish {
        name: "[Keeper's|Captain's|Rainy day|Net mender's] pie with {fish}",
        needs: &[
            "You will need a pound of {fish}, {number} potatoes, an onion, some butter and a cup of milk.",
            "Take a large {fish}, {number} potatoes, a jug of milk, some butter and a handful of {herb}.",
        ],
        steps: &[
            "First, boil the potatoes in salted water until a knife goes in easily.",
            "Cook the {fish} gently in the milk for {minutes} and take out all of the bones.",
            "Make a white sauce from the butter, a spoon of flour and the warm milk.",
            "Mix the {fish} with the sauce and the {herb}, and taste it for salt.",
            "Put everything into a deep dish and smooth the top with a spoon.",
            "Mash the potatoes with a little butter and spread them over the {fish}.",
            "Draw waves on the top with a fork, as the bakers of {town} do.",
            "Bake the pie for {minutes}, until the waves are brown and the sauce begins to bubble.",
        ],
    },
];

const STORY: &[&str] = &[
    "This dish comes from {town}, where it is eaten during {festival}.",
    "The baker {baker} made it for the crew of {ferry} and would not write it down for {number} years.",
    "In {region} every family cooks it in its own way, and every family is sure that it is right.",
    "The keepers on {light} used to make it when the supply boat was late.",
    "It is best in {season}, when the {fish} are cheap and the evenings are long.",
    "My {relative} learned it from {captain}, who had it from a cook in {other_town}.",
];

const SERVING: &[&str] = &[
    "Serve it warm with butter and a cup of strong tea.",
    "It is enough for {number} hungry people, or for one keeper and a long night.",
    "What is left tastes even better on the next day.",
    "In {other_town} they add {herb}, but nobody in {town} would do that.",
    "Keep a piece for the person who comes home with the last boat.",
    "Eat it {place}, with the wind behind you and the {bird} in front.",
];

pub(in crate::corpus) fn write(scene: &mut Scene, random: &mut Random) -> (String, String) {
    let dish = random.pick(DISHES);
    for key in ["flour", "root", "herb", "fruit"] {
        let choice = phrase(&format!("{{{key}}}"), scene, random);
        scene.set(key, choice);
    }
    let title = phrase(dish.name, scene, random);

    let mut story = some_of(STORY, 2, 3, Order::Any, scene, random);
    story.extend(some_of(dish.needs, 1, 1, Order::Any, scene, random));
    let steps = some_of(dish.steps, 5, 7, Order::AsWritten, scene, random);
    let serving = some_of(SERVING, 1, 3, Order::Any, scene, random);
    (title, paragraphs(&[story, steps, serving]))
}
