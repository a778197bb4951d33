"""What a command told on its streams."""


def lines(captured):
    return [line for line in captured.readouterr().err.splitlines() if line.strip()]
