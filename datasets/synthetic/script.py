"""What is said in the generated series: titles, captions, lines and sound effects, all our own."""

SERIES_TITLE = "The Lantern Road"

TITLES = (
    "The Kettle at the Gate",
    "Fog on the Ferry Stairs",
    "A Map with No North",
    "The Soup Tournament",
    "Seven Borrowed Umbrellas",
    "The Clock That Sneezed",
    "Moths in the Post Office",
    "A Bridge for Two Goats",
    "The Quiet Drum",
)

CAPTIONS: dict[str, tuple[str, ...]] = {
    "meadow": (
        "That morning, the wind smelled of plums.",
        "Past the last fence, nobody keeps time.",
        "A good hill asks no questions.",
    ),
    "village": ("Market day in Tumbledown.", "Every roof here has a rumour.", "The baker saw it first."),
    "shore": ("Low tide, high hopes.", "The ferry was late by a year.", "Somewhere out there, a bell."),
    "room": ("Meanwhile, indoors...", "The tea had opinions.", "Nobody had dusted since spring."),
    "night": ("Long after the lamps.", "The moon was on their side. Mostly.", "Night, and a plan."),
    "forest": ("The old wood listens.", "Three paths. Two of them lie.", "It was greener than they remembered."),
}

# For each of the cast: (mood, kind of bubble, text).
LINES: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (
        ("happy", "speech", "I found the lantern! It was under the cat."),
        ("cross", "speech", "Who ate the map?"),
        ("shout", "shout", "Run! Not that way!"),
        ("calm", "speech", "If we go now, we can be back before the soup is cold."),
        ("wow", "speech", "It is taller than it was yesterday."),
        ("calm", "thought", "Something smells like adventure. Or cheese."),
        ("wink", "speech", "Trust me. I have half a plan."),
    ),
    (
        ("calm", "speech", "A spell is only a polite question."),
        ("cross", "speech", "That was my good hat."),
        ("happy", "speech", "Behold! A slightly larger turnip."),
        ("wow", "shout", "The stars have moved!"),
        ("sad", "speech", "I forgot the last word again."),
        ("calm", "thought", "Left is lucky on a Tuesday. Is it Tuesday?"),
    ),
    (
        ("happy", "speech", "Beep! I have made toast for everyone."),
        ("calm", "speech", "My left wheel says rain."),
        ("wow", "shout", "Alarm! Duckling on the road!"),
        ("sad", "speech", "I have counted the spoons. We are one short."),
        ("calm", "thought", "Query: what is a picnic?"),
        ("cross", "speech", "I am not a teapot."),
    ),
    (
        ("shout", "shout", "Stand back! I have a sword and a cold!"),
        ("happy", "speech", "On my honour, these are excellent plums."),
        ("calm", "speech", "A knight never asks the way. Bolt, ask the way."),
        ("sad", "speech", "My horse left me for a farmer."),
        ("wow", "speech", "Is that dragon wearing slippers?"),
        ("cross", "speech", "Who painted my shield?"),
    ),
    (
        ("calm", "speech", "I was asleep, and I blame all of you."),
        ("happy", "speech", "The fish confessed."),
        ("cross", "speech", "No. That box is mine."),
        ("calm", "thought", "They think they are in charge. Sweet."),
        ("wow", "shout", "A bird! In boots!"),
        ("sad", "speech", "My bowl has a hole in it. It is called empty."),
    ),
)

SOUNDS = ("Whoosh!", "Krak!", "Bzzt!", "Thump!", "Fwip!", "Clang!", "Splosh!", "Boing!")
