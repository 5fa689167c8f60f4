"""Makes a ConfigMap of each Greeting: replace it with yours."""

from purlin_plugin import Dialect, FieldError, Invalid, SyncResponse


class Greetings(Dialect):
    def sync(self, request):
        who = request.parent.get("spec", {}).get("who", "")
        if not who:
            raise Invalid(FieldError("spec.who", "", "say whom to greet"))
        greeting = f"Hello, {who}!"
        child = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": request.parent["metadata"]["name"]},
            "data": {"greeting": greeting},
        }
        return SyncResponse(children=[child], status={"greeting": greeting})


plugin = Greetings()
