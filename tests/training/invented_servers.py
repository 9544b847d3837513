"""Invented MCP servers of several kinds, as their tool lists come over the wire."""

from __future__ import annotations

from typing import Any

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.types import ServerSpec

Schema = dict[str, Any]


def text(about: str = "", **more: Any) -> Schema:
    return {"type": "string", **({"description": about} if about else {}), **more}


def whole(about: str = "", **more: Any) -> Schema:
    return {"type": "integer", **({"description": about} if about else {}), **more}


def switch(about: str = "", **more: Any) -> Schema:
    return {"type": "boolean", **({"description": about} if about else {}), **more}


def tool(name: str, about: str = "", required: str = "", /, **properties: Schema) -> Schema:
    schema = {"type": "object", "properties": properties, "required": required.split()}
    return {"name": name, "description": about, "inputSchema": schema}


TICKET = text("Ticket key, e.g. 'SUP-1042'", pattern=r"^SUP-\d{2,5}$")
HELPDESK = [
    tool("create_ticket", "Open a new support ticket for a customer.", "subject description", subject=text("Short summary"),
         description=text("What the customer reports"), priority=text("How urgent it is", enum=["low", "normal", "high", "urgent"]),
         customer_email=text("Email of the customer", format="email"), tags={"type": "array", "items": text()}),
    tool("get_ticket", "Get the details of a ticket.", "ticket_key", ticket_key=TICKET, include_history=switch("Also return the change log")),
    tool("list_tickets", "List tickets, newest first.", "", status=text(enum=["open", "pending", "solved", "closed"]),
         assignee=text("Agent the ticket is assigned to"), limit=whole("Maximum number of tickets to return", minimum=1, maximum=100)),
    tool("search_tickets", "Full-text search over all tickets.", "query", query=text("Words to search for"), created_after=text("Only tickets created after this date (YYYY-MM-DD)", format="date")),
    tool("assign_ticket", "Assign a ticket to an agent.", "ticket_key agent", ticket_key=TICKET, agent=text("Name of the agent")),
    tool("update_ticket", "Change the status or priority of a ticket.", "ticket_key", ticket_key=TICKET,
         status=text(enum=["open", "pending", "solved", "closed"]), priority=text(enum=["low", "normal", "high", "urgent"])),
    tool("close_ticket", "Close a ticket.", "ticket_key", ticket_key=TICKET, reason=text("Why it is closed"), notify_customer=switch("Send the customer a mail")),
    tool("add_comment", "Add a comment to a ticket.", "ticket_key body", ticket_key=TICKET, body=text("Text of the comment"), is_private=switch("Hide it from the customer")),
    tool("merge_tickets", "Merge a duplicate ticket into another one.", "source_key target_key", source_key=TICKET, target_key=TICKET),
    tool("list_agents", "List all support agents."),
]  # fmt: skip
SHOP = [
    tool("addProduct", "Adds a product to the catalogue", "name price", name=text("Product name"), price={"type": "number", "description": "Price in euros", "exclusiveMinimum": 0},
         sku=text("Article number"), stock=whole("Units on hand", minimum=0), category=text(enum=["kitchen", "office", "garden", "toys"])),
    tool("getProduct", "Returns one product", "productId", productId=whole("ID of the product")),
    tool("findProducts", "Finds products by words in their name or description", "q", q=text(), max_price={"type": "number", "minimum": 0}, in_stock_only=switch()),
    tool("updateStock", "Sets the stock level of a product", "productId quantity", productId=whole(), quantity=whole("New number of units", minimum=0)),
    tool("deleteProduct", "Removes a product for good", "productId", productId=whole()),
    tool("placeOrder", "Places an order for a customer", "customerId items", customerId=whole(),
         items={"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"sku": text(), "quantity": whole(minimum=1)}, "required": ["sku", "quantity"]}},
         shippingAddress={"type": "object", "properties": {"street": text(), "city": text(), "zip": text()}, "required": ["street", "city"]}, giftWrap=switch()),
    tool("getOrderStatus", "Tells where an order is", "orderId", orderId=text("Order number such as ORD-20418")),
    tool("cancelOrder", "Cancels an order that was not shipped yet", "orderId", orderId=text("Order number such as ORD-20418"), reason=text()),
    tool("refundOrder", "Gives the money for an order back", "orderId", orderId=text("Order number such as ORD-20418"), amount={"type": "number", "minimum": 0.01}),
    tool("salesReport", "Revenue by day, week or month", "from to", **{"from": text("First date, YYYY-MM-DD"), "to": text("Last date, YYYY-MM-DD")}, group_by=text(enum=["day", "week", "month"])),
]  # fmt: skip
HOME = [
    tool("turn_on", "Switch a device on", "device", device=text("Name of the device")),
    tool("turn_off", "Switch a device off", "device", device=text("Name of the device")),
    tool("set_brightness", "Set the brightness of a light", "light level", light=text("Which light"), level=whole("Percent", minimum=0, maximum=100)),
    tool("set_temperature", "Set the target temperature of a thermostat", "room temperature", room=text("Room of the thermostat"), temperature={"type": "number", "minimum": 5, "maximum": 30}, unit=text(enum=["celsius", "fahrenheit"])),
    tool("get_sensor_reading", "Read the current value of a sensor", "sensor_id", sensor_id=text()),
    tool("lock_door", "Lock a door", "door", door=text(enum=["front", "back", "garage"])),
    tool("create_scene", "Create a scene from device states", "name", name=text(), devices={"type": "array", "items": text()}),
    tool("schedule_routine", "Run a routine at a time of day", "routine time", routine=text("Name of the routine"), time=text("HH:MM, 24-hour"), days={"type": "array", "items": text(enum=["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), "uniqueItems": True}),
]  # fmt: skip
TRAVEL = [
    tool("search_flights", "Search flights between two cities.", "origin destination departure_date", origin=text("City or airport code"), destination=text("City or airport code"),
         departure_date=text(format="date"), return_date=text(format="date"), passengers=whole(minimum=1, maximum=9), cabin_class=text(enum=["economy", "premium_economy", "business", "first"]), direct_only=switch()),
    tool("book_hotel", "Book a hotel room.", "hotel_name check_in check_out", hotel_name=text(), check_in=text(format="date"), check_out=text(format="date"), guests=whole(minimum=1, maximum=6), room_type=text(enum=["single", "double", "suite"]), breakfast=switch("Include breakfast")),
    tool("get_booking", "Get a booking by its reference.", "booking_reference", booking_reference=text("Six characters", pattern="^[A-Z0-9]{6}$")),
    tool("cancel_booking", "Cancel a booking.", "booking_reference", booking_reference=text(pattern="^[A-Z0-9]{6}$")),
    tool("convert_currency", "Convert an amount from one currency to another.", "amount from to", amount={"type": "number", "minimum": 0}, **{"from": text("ISO 4217 currency code"), "to": text("ISO 4217 currency code")}),
    tool("get_weather", "Get the weather forecast for a city.", "city", city=text(), days=whole("Days ahead", minimum=1, maximum=10), units=text(enum=["metric", "imperial"])),
    tool("translate_text", "Translate text into another language.", "text target_language", text=text("Text to translate"), target_language=text("Name of the language")),
    tool("visa_requirements", "Visa rules for a nationality", "nationality destination_country", nationality=text(), destination_country=text()),
]  # fmt: skip
OPS = [
    tool("deploy_service", "Deploy a version of a service to an environment.", "service version environment", service=text("Service name"), version=text("Version to deploy", pattern=r"^v?\d+\.\d+\.\d+$"), environment=text(enum=["staging", "production"]), dry_run=switch()),
    tool("rollback", "Roll back a service to its previous version.", "service environment", service=text(), environment=text(enum=["staging", "production"])),
    tool("get_logs", "Fetch log lines of a service.", "service", service=text(), lines=whole("How many lines", minimum=1, maximum=1000), level=text(enum=["debug", "info", "warn", "error"]), since=text("ISO 8601 timestamp", format="date-time")),
    tool("restart_pod", "Restart a pod in a namespace.", "pod_name namespace", pod_name=text(), namespace=text()),
    tool("scale_deployment", "Scale a deployment to a number of replicas.", "deployment replicas", deployment=text(), replicas=whole(minimum=0, maximum=50)),
    tool("list_incidents", "List open incidents.", "", severity=text(enum=["sev1", "sev2", "sev3"]), service=text()),
    tool("acknowledge_incident", "Acknowledge an incident.", "incident_id", incident_id=text()),
    tool("run_query", "Run a read-only SQL query against the metrics database.", "sql", sql=text("SQL to run"), database=text()),
    tool("create_alert", "Create an alert rule for a metric.", "metric threshold", metric=text("Name of the metric"), threshold={"type": "number"}, channel=text("Slack channel for notifications")),
    tool("health", "Check that everything is up."),
]  # fmt: skip
CLINIC = [
    tool("book_appointment", "Book an appointment with a doctor", "patient_name doctor date", patient_name=text(), doctor=text(), date=text("Date of the visit", format="date"), time=text("Time of day, HH:MM"), notes=text()),
    tool("find_patient", "Find a patient by name or birthday", "", name=text(), date_of_birth=text(format="date")),
    tool("list_appointments", "List the appointments of a day", "date", date=text(format="date"), doctor=text()),
    tool("record_measurement", "Record a measurement of a patient", "patient_id kind value", patient_id=whole(), kind=text(enum=["weight", "blood_pressure", "temperature", "heart_rate"]), value={"type": "number"}),
    tool("send_reminder", "Send a patient a reminder by text message", "patient_id message", patient_id=whole(), message=text()),
    tool("prescribe", "Write a prescription", "patient_id medication", patient_id=whole(), medication=text(), dosage_mg={"type": ["integer", "null"], "minimum": 1}, duration_days=whole(minimum=1)),
]  # fmt: skip
PLACES = [
    tool("geocode", "Turn an address into coordinates", "address", address=text("Postal address")),
    tool("distance_matrix", "Travel time and distance between two places", "origin destination", origin=text(), destination=text(), mode=text(enum=["driving", "walking", "bicycling", "transit"])),
    tool("nearby_search", "Find places near a position", "latitude longitude", latitude={"type": "number", "minimum": -90, "maximum": 90}, longitude={"type": "number", "minimum": -180, "maximum": 180}, keyword=text(), radius=whole("Metres", minimum=10, maximum=50000)),
    tool("elevation", "Height above sea level", "location", location=text()),
]  # fmt: skip
LISTS = {
    "helpdesk": HELPDESK,
    "shop": SHOP,
    "home": HOME,
    "travel": TRAVEL,
    "ops": OPS,
    "clinic": CLINIC,
    "places": PLACES,
}


def invented(name: str) -> ServerSpec:
    """One of the invented servers."""
    return build_server(name, "", LISTS[name]).spec
