"""Split a question in several parts into steps, answer each by its best expert, and join the parts."""

import leeroo

QUESTIONS = ["What is the capital of Italy? Name a famous building in that city."]

solved = leeroo.solve(QUESTIONS, max_cost_usd=0.001)
for row in solved.to_pylist():
    for step in row["steps"]:
        print(f"{step['step']}. {step['task']}\n   {step['answer']}   [{step['expert']}]")
    print(row["answer"])
