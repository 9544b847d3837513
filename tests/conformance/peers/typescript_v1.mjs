// The version 1 client of the TypeScript SDK: lists, calls, follows progress and answers a form; prints what it saw.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const target = JSON.parse(process.argv[2]);
const client = new Client({ name: "typescript-v1", version: "1" }, { capabilities: { elicitation: {} } });
const seen = { progress: [], asked: [] };
client.setRequestHandler(ElicitRequestSchema, async (request) => {
  seen.asked.push(request.params.message);
  return { action: "accept", content: { username: "ana", email: "ana@example.org" } };
});
const transport = target.url
  ? new StreamableHTTPClientTransport(new URL(target.url))
  : new StdioClientTransport({ ...target, stderr: "ignore" });
await client.connect(transport);
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
seen.text = (await client.callTool({ name: "test_simple_text" })).content[0].text;
await client.callTool({ name: "test_tool_with_progress" }, undefined, {
  onprogress: (progress) => seen.progress.push([progress.progress, progress.total]),
});
const answered = await client.callTool({ name: "test_elicitation", arguments: { message: "Who are you?" } });
seen.answered = answered.content[0].text;
await client.close();
console.log(JSON.stringify(seen));
