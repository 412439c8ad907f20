// The storage emulator of firebase-tools, alone: node serve.cjs ADDR PORT FOLDER
const [address, port, folder] = process.argv.slice(2);
process.env.TMPDIR = folder; // below it, it keeps the objects

const { StorageEmulator } = require("firebase-tools/lib/emulator/storage");
const { createApp } = require("firebase-tools/lib/emulator/storage/server");
const { EmulatorRegistry } = require("firebase-tools/lib/emulator/registry");

const project = "demo-backups";
const emulator = new StorageEmulator({
    projectId: project, host: address, port: Number(port), rules: { name: "none", content: "" },
});
EmulatorRegistry.INSTANCES.set("storage", emulator);
createApp(project, emulator).then((app) => {
    emulator._app = app;
    app.listen(Number(port), address);
});
