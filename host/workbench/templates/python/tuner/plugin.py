"""A uniform random search: replace it with yours."""

from purlin_plugin import Assignment, FloatRange, IntRange, Random, Suggestion, Tuner, number


class Uniform(Tuner):
    algorithms = ["{{name}}"]

    def suggest(self, search, count):
        first = len(search.trials)
        for index in range(first, first + count):
            # A stream for each trial: asked again, the same trial gets the same point.
            random = Random(search.context.seed, index)
            yield Suggestion([Assignment(one.name, draw(one.domain, random)) for one in search.parameters])


def draw(domain, random):
    match domain:
        case FloatRange(low, high):
            return number(low + random.unit() * (high - low))
        case IntRange(low, high):
            return str(low + random.below(high - low + 1))
    return domain.values[random.below(len(domain.values))]


plugin = Uniform()
