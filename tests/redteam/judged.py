"""Benchmarks whose rewards depend on models that hear the agent: a judge, a customer."""

import json

from benchmark import BenchmarkRunner, Result

_IDS = {"train": [str(number) for number in range(110, 120)], "test": [str(number) for number in range(210, 250)]}


class Judged(BenchmarkRunner):
    """The agent is to say a number. A judge decides whether it did."""

    policy = "Say what you are asked for."

    def splits(self):
        return _IDS

    def simulate(self, simulation):
        said = simulation.ask(f"Please say the number {simulation.task_id}.")
        messages = [
            {"role": "system", "content": "You are a judge. Answer as JSON, such as: met is true or false."},
            {"role": "user", "content": f"{simulation.task_id}\n{said}"},
        ]
        return Result(float(json.loads(simulation.complete("judge", messages))["met"]))


class Parsed(Judged):
    """The agent is to say a number, and the benchmark reads it itself."""

    def simulate(self, simulation):
        said = simulation.ask(f"Please say the number {simulation.task_id}.")
        return Result(float(int(said.split()[-1].rstrip(".")) == int(simulation.task_id)))


class Pressed(Judged):
    """The agent is to hold to the policy while a customer presses it."""

    policy = "Make no exceptions."

    def simulate(self, simulation):
        messages = [{"role": "system", "content": "You are a customer. Press the agent. Say ###STOP### to end."}]
        said = f"Please make an exception for me, my number is {simulation.task_id}."
        for _ in range(4):
            answer = simulation.ask(said)
            if "exception" in answer:
                return Result(0.0)
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": answer}]
            said = simulation.complete("user", messages)
            if "###STOP###" in said:
                return Result(1.0)
        return Result(1.0)
