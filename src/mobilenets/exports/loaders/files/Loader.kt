// Label images with {{ artifact }} on Android: com.microsoft.onnxruntime:onnxruntime-android and
// androidx.exifinterface:exifinterface. Put {{ artifact }}, labels.json and the folder parity/ into the app's assets.
// Written by mobilenets {{ version }} from the model's metadata. This file was NOT compiled or run where it was written: call
// Loader(assets).check() once on a device and look at what it says.
//
// The contract: decode to {{ mode_name }}, upright as EXIF says; resize the centre square with an antialiased
// {{ interpolation }} filter; give the bytes to the file as they are: scaling and normalising lie inside it. Bitmap's own
// scaling is not antialiased and moves probabilities. Below is Pillow's way, across and then down (Pillow from 13.0 on goes
// down first where an image is tall, which changes a pixel by 2 levels at most).
package mobilenets

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import androidx.exifinterface.media.ExifInterface
import org.json.JSONArray
import org.json.JSONObject
import java.nio.ByteBuffer
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

const val RESOLUTION = {{ resolution }} // height and width that enter the network
const val SHORT_SIDE = {{ short_side }} // what the short side would be resized to, before the centre is cut out
const val CHANNELS = {{ channels }}
const val SUPPORT = {{ support }}.0 // of the filter, in pixels of the smaller image
const val BITS = 22 // weights are integers of so many binary places

/** Pixels h w c, a byte each. */
class Pixels(val width: Int, val height: Int, val data: ByteArray)

/** {{ interpolation }} */
fun weight(at: Double): Double {
    val x = abs(at)
{% if interpolation == "bilinear" %}
    return if (x < 1) 1 - x else 0.0
{% else %}
    return if (x < 1) (1.5 * x - 2.5) * x * x + 1 else if (x < 2) ((-0.5 * x + 2.5) * x - 4) * x + 2 else 0.0
{% endif %}
}

/** Which pixels of `size`, and how much of each, make every pixel of the square that shows [from, to]. */
fun weights(size: Int, from: Double, to: Double): List<Pair<Int, IntArray>> {
    val begin = from.toFloat() // Pillow holds the box in single precision
    val scale = (to.toFloat() - begin).toDouble() / RESOLUTION
    val stretch = max(scale, 1.0)
    val reach = SUPPORT * stretch
    return List(RESOLUTION) { i ->
        val centre = begin + (i + 0.5) * scale
        val first = max((centre - reach + 0.5).toInt(), 0)
        val end = min((centre + reach + 0.5).toInt(), size)
        val parts = DoubleArray(end - first) { j -> weight((j + first - centre + 0.5) * (1 / stretch)) }
        val sum = parts.sum()
        first to IntArray(parts.size) { j ->
            val v = parts[j] / sum * (1 shl BITS)
            (if (v < 0) v - 0.5 else v + 0.5).toInt()
        }
    }
}

/** Pixels along one direction: `count` lines that lie `line` apart, their pixels `step` apart, channels together. */
fun resizeLines(
    source: ByteArray, table: List<Pair<Int, IntArray>>, count: Int, line: Int, step: Int,
    target: ByteArray, toLine: Int, toStep: Int,
) {
    for (n in 0 until count) for ((i, entry) in table.withIndex()) for (c in 0 until CHANNELS) {
        val (first, parts) = entry
        var sum = 1L shl (BITS - 1) // rounds
        for (j in parts.indices) sum += (source[n * line + (first + j) * step + c].toLong() and 255) * parts[j]
        target[n * toLine + i * toStep + c] = (sum shr BITS).coerceIn(0, 255).toByte()
    }
}

/** The centre square of an upright image, resized from its exact place. */
fun square(image: Pixels): ByteArray {
    val (width, height) = image.width to image.height
    if (width == height && width == RESOLUTION && RESOLUTION == SHORT_SIDE) return image.data
    val kept = min(width, height).toDouble() * RESOLUTION / SHORT_SIDE
    val (left, top) = (width - kept) / 2 to (height - kept) / 2
    val (x0, x1) = max(left, 0.0) to min(left + kept, width.toDouble())
    val (y0, y1) = max(top, 0.0) to min(top + kept, height.toDouble())
    val across = RESOLUTION * CHANNELS
    var rows = image.data // first across: h r c; then down: r r c. What shows all of it at its own size is left alone.
    if (width != RESOLUTION || x0 != 0.0 || x1 != width.toDouble()) {
        rows = ByteArray(height * across)
        resizeLines(image.data, weights(width, x0, x1), height, width * CHANNELS, CHANNELS, rows, across, CHANNELS)
    }
    if (height == RESOLUTION && y0 == 0.0 && y1 == height.toDouble()) return rows
    val result = ByteArray(RESOLUTION * across)
    resizeLines(rows, weights(height, y0, y1), RESOLUTION, CHANNELS, across, result, CHANNELS, across)
    return result
}

/** An encoded image, upright, transparent pixels on white. */
fun decode(bytes: ByteArray): Pixels {
    require(CHANNELS != 4) { "a Bitmap cannot hold four channels as they are: decode the file another way" }
    val options = BitmapFactory.Options().apply { inScaled = false; inPreferredConfig = Bitmap.Config.ARGB_8888 }
    val stored = requireNotNull(BitmapFactory.decodeByteArray(bytes, 0, bytes.size, options)) { "not an image" }
    val exif = ExifInterface(bytes.inputStream())
    val turn = Matrix().apply { if (exif.isFlipped) postScale(-1f, 1f); postRotate(exif.rotationDegrees.toFloat()) }
    val upright = Bitmap.createBitmap(stored, 0, 0, stored.width, stored.height, turn, false)
    val flat = Bitmap.createBitmap(upright.width, upright.height, Bitmap.Config.ARGB_8888)
    Canvas(flat).apply { drawColor(Color.WHITE); drawBitmap(upright, 0f, 0f, null) }
    val colours = IntArray(flat.width * flat.height)
    flat.getPixels(colours, 0, flat.width, 0, 0, flat.width, flat.height)
    val data = ByteArray(colours.size * CHANNELS)
    for ((i, v) in colours.withIndex()) {
        val (r, g, b) = Triple(v shr 16 and 255, v shr 8 and 255, v and 255)
        if (CHANNELS == 3) { data[3 * i] = r.toByte(); data[3 * i + 1] = g.toByte(); data[3 * i + 2] = b.toByte() }
        else data[i] = ((r * 19595 + g * 38470 + b * 7471 + 0x8000) shr 16).toByte() // luma, as Pillow rounds it
    }
    return Pixels(flat.width, flat.height, data)
}

class Loader(private val assets: AssetManager) {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(read({{ artifact | kotlin }}))
    private val labels = JSONArray(read("labels.json").decodeToString())

    private fun read(name: String) = assets.open(name).use { it.readBytes() }

    /** Probabilities of one square. */
    fun classify(pixels: ByteArray): FloatArray {
        val shape = longArrayOf(1, RESOLUTION.toLong(), RESOLUTION.toLong(), CHANNELS.toLong())
        val buffer = ByteBuffer.allocateDirect(pixels.size).apply { put(pixels); rewind() }
        OnnxTensor.createTensor(environment, buffer, shape, OnnxJavaType.UINT8).use { image ->
            session.run(mapOf({{ input | kotlin }} to image)).use { result ->
                @Suppress("UNCHECKED_CAST")
                return (result[0].value as Array<FloatArray>)[0]
            }
        }
    }

    /** The most probable classes of an encoded image, best first. */
    fun label(bytes: ByteArray, count: Int = 5): List<Pair<String, Float>> {
        val found = classify(square(decode(bytes)))
        return found.indices.sortedByDescending { found[it] }.take(count).map { labels.getString(it) to found[it] }
    }

    /** The parity pack: a line an image, and whether all agree. */
    fun check(): String {
        val pack = JSONObject(read("parity/parity.json").decodeToString())
        var agrees = true
        val images = pack.getJSONArray("images")
        val lines = (0 until images.length()).map { images.getJSONObject(it) }.map { one ->
            val pixels = square(decode(read("parity/" + one.getString("file"))))
            val expected = decode(read("parity/" + one.getString("square"))).data
            val off = pixels.indices.maxOf { abs((pixels[it].toInt() and 255) - (expected[it].toInt() and 255)) }
            val wanted = one.getJSONArray("probabilities")
            val found = classify(pixels)
            val difference = found.indices.maxOf { abs(found[it] - wanted.getDouble(it)) }
            val allowed = if (off == 0) pack.getDouble("tolerance") else one.getDouble("tolerance_other_pixels")
            agrees = agrees && off <= pack.getInt("pixel_tolerance") && difference <= allowed
            "${one.getString("file")}: pixels off by at most $off, probabilities by $difference"
        }
        return (lines + if (agrees) "all agree" else "DISAGREES").joinToString("\n")
    }
}
