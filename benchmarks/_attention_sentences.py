"""Twenty plain sentences, written for this benchmark."""

SENTENCES = (
    "The river rose by a metre overnight, and the lower road was closed.",
    "She tuned the old piano herself, one string at a time.",
    "A graph with two components has two eigenvalues equal to zero.",
    "Why did the committee postpone its decision until the spring?",
    "Fresh bread cools on a rack so that the crust stays crisp.",
    "The telescope follows a star by turning against the rotation of the Earth.",
    "Nobody had expected the goalkeeper to score in the last minute.",
    "Salt lowers the freezing point of water, which is why roads are salted in winter.",
    "He reads the newspaper from the last page to the first.",
    "The museum is free on Sundays, but the queue is long.",
    "Their daughter learned to swim before she learned to ride a bicycle.",
    "Interest rates were raised again, although inflation had begun to fall.",
    "If the battery is below ten percent, the drone returns and lands.",
    "Most bees in a garden live alone and dig their nests in the ground.",
    "The recipe asks for three eggs, two lemons and a pinch of patience.",
    "An old map showed a village where there is only a lake today.",
    "Please restart the server after you have changed its configuration.",
    "The violinist practised the slow movement until the neighbours knew it by heart.",
    "Vaccines train the immune system without causing the disease.",
    "It rained, so we stayed inside, played cards and drank tea.",
)
