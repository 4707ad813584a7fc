"""A verifier of one's own: a completion and the answer of its prompt, both text, to True, False or None.

None says that the completion could not be scored: it then counts neither as correct nor as wrong.
"""

OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


def is_correct(completion, answer):
    """Whether a postfix expression uses the numbers before the = once each and has the value after it."""
    numbers, _, target = answer.partition("=")
    words = completion.split()
    if sorted(word for word in words if word not in OPERATIONS) != sorted(numbers.split()):
        return False
    stack = []
    for word in words:
        if word not in OPERATIONS:
            stack.append(int(word))
        elif len(stack) < 2:
            return False
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(OPERATIONS[word](left, right))
    return stack == [int(target)]
