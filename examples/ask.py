"""Ask the model `digits` what it sees, with Triton's own client."""

# ruff: noqa: T201 - an example talks to people
import tritonclient.http as triton

from changeover.demo import digits

samples = digits.load_samples()
image = triton.InferInput("image", [1, 1, 28, 28], "FP32")
image.set_data_from_numpy(samples.inputs()[:1])

answer = triton.InferenceServerClient("127.0.0.1:8000").infer("digits", [image])
digit = answer.as_numpy("scores").argmax()
print(f"a {samples.labels[0]} was read as {digit} by version {answer.get_response()['model_version']}")
