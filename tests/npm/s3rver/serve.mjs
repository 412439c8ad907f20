// An S3 server with one bucket: node serve.mjs ADDR PORT FOLDER BUCKET
import S3rver from "@20minutes/s3rver";

const [address, port, directory, bucket] = process.argv.slice(2);
await new S3rver({
    address, port: Number(port), directory, silent: true,
    configureBuckets: [{ name: bucket }],
}).run();
