//! The word lists of the invented coast.
//!
//! Each list is one string with commas between the words, so that the lists stay short to read.

/// Returns the words of a list.
pub(super) fn list(name: &str) -> Option<Vec<&'static str>> {
    LISTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, list)| list.split(", ").collect())
}

const LISTS: &[(&str, &str)] = &[
    (
        "town_start",
        "Marrow, Tern, Kelp, Fen, Bram, Orrin, Pell, Thorn, Cald, Sedge, Hollow, Wether, \
         Lind, Anser, Drift, Corm, Ember, Gannet",
    ),
    (
        "town_end",
        "haven, mouth, ness, stead, wick, sand, holm, port",
    ),
    (
        "rock_name",
        "Gull, Heron, Widow, Anvil, Candle, Seal, Raven, Thimble, Saddle, Cradle, Needle, \
         Otter",
    ),
    ("rock_kind", "Rock, Head, Point, Ledge, Island"),
    (
        "women_name",
        "Maren, Tilda, Wenna, Orla, Hanne, Isolde, Senna, Brid, Lowenna, Greta",
    ),
    (
        "men_name",
        "Anders, Corin, Jory, Piet, Ruan, Tobin, Edric, Silas, Osk, Hal",
    ),
    (
        "surname",
        "Tollan, Reeve, Harrow, Quill, Penner, Skelly, Brack, Lunt, Marsh, Sorrel, Vane, \
         Hobble, Carrick, Dunnet",
    ),
    (
        "region",
        "the Gray Reach, the Salt Marches, the Lantern Isles, the Long Strand, the Inner \
         Sound, the Cold Narrows, the Western Shoals",
    ),
    (
        "ferry",
        "the Patient Anna, the Gray Heron, the Second Tide, the Good Margit, the Salt \
         Daughter, the Slow Lark, the Blue Lantern, the Old Promise",
    ),
    (
        "festival",
        "the Feast of Lanterns, the Herring Fair, Net Day, the Blessing of the Boats, Bell \
         Night, the First Tide Supper, the Day of the Long Table",
    ),
    (
        "month",
        "January, February, March, April, May, June, July, August, September, October, \
         November, December",
    ),
    ("season", "spring, summer, autumn, winter"),
    ("fish", "herring, mackerel, cod, pollock, haddock, whiting"),
    (
        "shellfish",
        "mussels, cockles, crabs, lobsters, limpets, scallops",
    ),
    (
        "bird",
        "gulls, terns, puffins, cormorants, herons, petrels, geese",
    ),
    (
        "good",
        "salt, wool, dried fish, barley, timber, lamp oil, slate, honey",
    ),
    (
        "craft",
        "rope, nets, small boats, barrels, sailcloth, candles, blankets",
    ),
    (
        "stone",
        "gray stone, white limestone, red brick, black slate, tarred oak, pale granite",
    ),
    (
        "building",
        "the chapel, the customs house, the net loft, the old mill, the school, the fish \
         market, the bakery, the rope walk, the harbor office, the lifeboat shed",
    ),
    (
        "small",
        "small, quiet, narrow, old, windy, busy, bright, weathered",
    ),
    ("color", "white, red, blue, green, yellow, gray, black"),
    ("animal", "cat, dog, goat, pony, gray hen, young seal"),
    (
        "number",
        "two, three, four, five, six, seven, eight, nine, ten, eleven, twelve",
    ),
    (
        "hundreds",
        "four hundred, six hundred, nine hundred, two thousand, three thousand, five \
         thousand",
    ),
    ("ordinal", "first, second, third, fourth, fifth"),
    (
        "distance",
        "half a mile, two miles, three miles, a short walk, a morning's walk, an \
         afternoon's sail",
    ),
    (
        "direction",
        "north, south, east, west, northeast, northwest, southwest",
    ),
    (
        "wind",
        "a light wind from the west, a cold wind from the north, a steady breeze from the \
         south, a hard gale from the northeast, a wet wind from the sea, hardly any wind, a \
         soft wind from the land",
    ),
    (
        "sky",
        "clear, low and gray, full of thin cloud, bright after the rain, dark in the west, \
         the color of slate, pale and still",
    ),
    (
        "sea",
        "calm, rough, gray and heavy, smooth as glass, loud on the rocks, green and clear, \
         covered with white foam",
    ),
    (
        "morning",
        "dawn, sunrise, first light, six o'clock, half past five, low water",
    ),
    (
        "evening",
        "dusk, sunset, nightfall, high water, seven o'clock, the turn of the tide",
    ),
    (
        "job",
        "trimmed the wick, polished the lens, swept the stairs, filled the oil cans, wound \
         the clock, painted the gallery rail, mended the boat, cleaned the windows, oiled \
         the hinges, wrote the log",
    ),
    (
        "vessel",
        "schooner, fishing boat, cutter, coal ship, ferry, small yacht, mail boat",
    ),
    (
        "meal",
        "soup and bread, fried fish, barley porridge, cold pie, beans and bacon, toast and \
         tea, fish stew",
    ),
    (
        "visitor",
        "the doctor, the inspector, the schoolteacher, the mail carrier, a young painter, \
         the carpenter, the harbor master",
    ),
    (
        "thing",
        "a new kettle, a bag of flour, two letters, a coil of rope, a jar of honey, a box \
         of candles, a wool coat, a basket of apples",
    ),
    (
        "herb",
        "thyme, parsley, dill, wild onion, sea fennel, sorrel",
    ),
    ("root", "potatoes, turnips, carrots, parsnips, leeks"),
    (
        "fruit",
        "apples, plums, blackberries, dried cherries, pears, gooseberries",
    ),
    ("flour", "barley flour, oat flour, white flour, rye flour"),
    (
        "minutes",
        "ten minutes, a quarter of an hour, half an hour, forty minutes, an hour",
    ),
    (
        "place",
        "on the harbor wall, at the end of the pier, beside the ferry stairs, behind the \
         chapel, under the lighthouse, on the square, near the fish market",
    ),
    (
        "feeling",
        "glad, tired, hopeful, proud, a little sad, very well, content",
    ),
    (
        "relative",
        "aunt, uncle, mother, father, sister, brother, cousin",
    ),
];
