-- Reads the names and the VPN settings of Cisco IP phones' configuration files (SEP<MAC>.cnf.xml and the like).
--
--   local cnf = dofile("cnf.lua").using({ base64 = ..., address = ..., xml = ... })
--   local file, problem = cnf.read(name, content)
--
-- Only /device/vpnGroup counts: addresses/url1 to url3 and credentials/certHash1 to certHash10.  The two lists are
-- independent (usecallmanager.nz, sepmac-cnf-xml; CME's vpn-gateway and vpn-trustpoint have the same limits).
-- /device/certHash is something else: the hash of the phone's own certificate.
--
-- Real files have defects: an undeclared xsi:, mismatched tags and the like.  A file that is so damaged that a vpnGroup may
-- be incomplete or lost is refused: an incomplete list of hashes would cause a false mismatch.

---@class certhash.HeadEnd
---@field host string in lower case
---@field port integer
---@field address string|nil its bytes, if the host is an address

---@class certhash.Url
---@field number integer
---@field text string
---@field head_end certhash.HeadEnd|nil
---@field problem string|nil

---@class certhash.Hash
---@field number integer
---@field text string
---@field digest string|nil bytes
---@field algorithm string|nil

---@class certhash.File the content of a phone's configuration file
---@field device string
---@field name string
---@field kind string plain, signed or encrypted
---@field urls certhash.Url[]|nil
---@field hashes certhash.Hash[]|nil
---@field hash_algorithm string
---@field host_id_check string
---@field path string|nil its location
---@field frame integer|nil the frame that completed its download
---@field client string|nil the client that downloaded it, as the bytes of its address

local M = { LARGEST = 2 * 1024 * 1024 }

local base64, address, xml

--- Set the modules that this one uses.
---@param others table<string, table> the modules, by name
function M.using(others)
    base64, address, xml = others.base64, others.address, others.xml
    return M
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Names

--- Return the base name of a path of any system, a URL's path or an IOS location ("flash:/its/vrf1_SEP....cnf.xml").
---@param path string
---@return string
function M.base_name(path)
    return (path:gsub("[?#].*$", ""):match("([^/\\:]*)$"))
end

local SEP = "sep%x%x%x%x%x%x%x%x%x%x%x%x"

-- Return the part before .cnf.xml of a name that phones request, in lower case; nil for any other name.
local function stem_of(name)
    local lower = name:lower()
    local stem = lower:match("^(.+)%.cnf%.xml$") or lower:match("^(.+)%.cnf%.xml%.sgn$")
        or lower:match("^(.+)%.cnf%.xml%.enc%.sgn$")
    if not stem or not stem:find("^[%w_.-]+$") or stem:find(SEP) and not stem:find("^" .. SEP .. "$") then
        return nil
    end
    return stem
end

--- Return the device of a configuration file by its name, or nil if no phone requests such a name.
-- Only the name contains the device: SEP and the MAC address, or XMLDefault and a phone type for a shared file.  Names are
-- plain (.cnf.xml), signed (.sgn) or encrypted (.enc.sgn), in upper or lower case, with the prefix "vrf1_" that CME adds to
-- the files of a VRF.
---@param path string
---@return string|nil
function M.device(path)
    local base = M.base_name(path)
    local name = base:gsub("^[vV][rR][fF]%d+_", "")
    local stem = stem_of(name)
    if not stem then
        name, stem = base, stem_of(base)
    end
    if not stem then
        return nil
    elseif stem:find("^" .. SEP .. "$") then
        return stem:upper()
    end
    return name:sub(1, #stem)
end

--- Return whether a name resembles that of a phone's configuration, but no phone requests it: SEP....cnf.xml.bak,
-- BAK_SEP....cnf.xml, a browser's "SEP....cnf (1).xml", Wireshark's SEP....cnf(1).xml.
---@param path string
---@return boolean
function M.is_copy(path)
    local lower = M.base_name(path):lower()
    if M.device(path) then
        return false
    end
    local from = lower:find(".cnf", 1, true)
    while from do
        local at = lower:find(".xml", from + 4, true)
        if at and at <= from + 12 then
            return true
        end
        from = lower:find(".cnf", from + 1, true)
    end
    local phone = select(2, lower:find(SEP))
    return phone ~= nil and (lower:find(".xml", phone + 1, true) or lower:find(".sgn", phone + 1, true)) ~= nil
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The signed form

-- A header of tag (1 byte), length (2), value precedes the file: tag 1 is the version (2.0 if the file is encrypted), 2 the
-- header's length, 13 a single byte of padding, 14 the file name, 16 to 27 describe the encryption.
-- Return the payload and whether it is encrypted; else nil and an error.
local function unwrap(content)
    if content:byte(6) ~= 2 or content:byte(7) ~= 0 or content:byte(8) ~= 2 or #content < 10 then
        return nil, "its signed header is damaged (no header length)"
    end
    local stop = content:byte(9) * 256 + content:byte(10)
    if stop < 10 or stop >= #content then
        return nil, ("it is cut short: its signed header announces %d bytes, %d are there"):format(stop, #content)
    end
    local encrypted = content:byte(4) >= 2
    local at = 0
    while at < stop do
        local tag, high, low = content:byte(at + 1, at + 3)
        if tag == 13 then
            at = at + 1
        else
            encrypted = encrypted or tag >= 16 and tag <= 27
            at = at + 3 + (high or 0) * 256 + (low or 0)
            if at > stop then
                return nil, "its signed header is damaged (a field reaches over the end)"
            end
        end
    end
    return content:sub(stop + 1), encrypted
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The text of a file

-- Convert UTF-16 to UTF-8; return nil if it is truncated or damaged.
local function from_utf16(content, high_first)
    if #content % 2 == 1 then
        return nil
    end
    local out, pending, sound = {}, nil, true
    for i = 1, #content, 2 do
        local one, two = content:byte(i, i + 1)
        local code = high_first and one * 256 + two or two * 256 + one
        if pending then
            sound = sound and code >= 0xdc00 and code < 0xe000
            out[#out + 1] = xml.character(0x10000 + (pending - 0xd800) * 1024 + (code - 0xdc00) % 1024)
            pending = nil
        elseif code >= 0xd800 and code < 0xdc00 then
            pending = code
        else
            sound = sound and (code < 0xdc00 or code >= 0xe000)
            out[#out + 1] = xml.character(code) or "\0"  -- a character that XML forbids becomes another that XML forbids
        end
    end
    return sound and not pending and table.concat(out) or nil
end

-- Return whether bytes from 128 on are UTF-8 (RFC 3629).
local function is_utf8(text)
    local at = text:find("[\128-\255]")
    while at do
        local first = text:byte(at)
        local more = first < 0xc2 and 0 or first < 0xe0 and 1 or first < 0xf0 and 2 or first < 0xf5 and 3 or 0
        local second = text:byte(at + 1) or 0
        if more == 0 or not text:find("^" .. ("[\128-\191]"):rep(more), at + 1) or first == 0xe0 and second < 0xa0
            or first == 0xed and second > 0x9f or first == 0xf0 and second < 0x90 or first == 0xf4 and second > 0x8f then
            return false
        end
        at = text:find("[\128-\255]", at + more + 1)
    end
    return true
end

-- Return the bytes of a file as text, or nil and an error.  Encodings other than UTF-16 contain ASCII unchanged, and only
-- ASCII is relevant here.
local function plain_text(content)
    local start = content:sub(1, 2)
    local text = content
    if start == "\255\254" or start == "<\0" then
        text = from_utf16(start == "<\0" and content or content:sub(3), false)
    elseif start == "\254\255" or start == "\0<" then
        text = from_utf16(start == "\0<" and content or content:sub(3), true)
    elseif content:find("^\239\187\191") then
        if not is_utf8(content) then
            return nil, "its byte order mark says UTF-8, but its text is not UTF-8"
        end
        text = content:sub(4)
    elseif content:find("\0", -1, true) then
        text = content:match("^.*[^\0]")
    end
    if not text then
        return nil, "it is UTF-16 that is cut short or damaged"
    end
    return text:find("\r", 1, true) and (text:gsub("\r\n?", "\n")) or text
end

-- Return a text without its XML declaration.  (A pattern alone would search an end for each of a million starts.)
local function without_declaration(text)
    local at, stop = 1, 0
    while true do
        local from = text:find("<?xml", at, true)
        if not from then
            return text
        elseif from >= stop then
            stop = text:find(">", from, true)
            if not stop then
                return text
            end
        end
        local next_tag = text:find("<", from + 5, true) or #text + 1
        if stop < next_tag and stop > from + 5 and text:sub(stop - 1, stop - 1) == "?"
            and not text:find("^[%w_]", from + 5) then
            return text:sub(1, from - 1) .. text:sub(stop + 1)
        end
        at = from + 5
    end
end

-- Return a text without its comments, and whether one is unclosed; that one extends to the end.
local function without_comments(text)
    local out, at = {}, 1
    while true do
        local from = text:find("<!--", at, true)
        out[#out + 1] = text:sub(at, (from or 0) - 1)
        if not from then
            return table.concat(out), false
        end
        local _, last = text:find("-->", from + 4, true)
        if not last then
            return table.concat(out), true
        end
        at = last + 1
    end
end

local ENTITIES = { amp = true, lt = true, gt = true, quot = true, apos = true }

-- Return a text with its bare ampersands escaped: they occur in URLs, but a strict parser refuses them.
local function with_references(text)
    if not text:find("&", 1, true) then
        return text
    end
    return (text:gsub("&([^&;]*)(;?)", function(body, stop)
        if stop == "" or not (ENTITIES[body] or body:find("^#%d+$") or body:find("^#x%x+$")) then
            return "&amp;" .. body .. stop
        end
    end))
end

local function trim(text)
    local from = text:find("%S")
    return from and text:match(".*%S", from) or ""
end

-- Return how often a piece occurs in a part of a text.
local function occurrences(text, piece, from, to)
    local number = 0
    local at, last = text:find(piece, from, true)
    while at and at <= to do
        number = number + 1
        at, last = text:find(piece, last + 1, true)
    end
    return number
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The vpnGroup

-- XMLDefault.cnf.xml, for phones without a file of their own, has the root Default.
local ROOTS = { device = true, Default = true }
local WANTED = { vpnGroup = true, fullConfig = true }

local SEVERAL = "it has several vpnGroup elements, and it is unknown which one a phone uses"
local TORN = "it is damaged or cut short within its vpnGroup"

local function wrong_root(name)
    return ("its root element is <%s>; a phone's configuration has <device>, or <Default> in XMLDefault.cnf.xml")
        :format(name)
end

-- It is unknown how a phone handles <Device> or <default>; without a vpnGroup it is irrelevant here.
local function is_root(name)
    local lower = name:lower()
    return lower == "device" or lower == "default"
end

local OTHER_CASE = "its root element is <%s>, and phones distinguish upper and lower case"

-- Return the only child of a root with a name.
local function children(root, name)
    local found = {}
    for _, child in ipairs(root.children) do
        if child.name == name then
            found[#found + 1] = child
        end
    end
    return found
end

-- Parse the vpnGroup alone, in a text with the word only in its tags; return nil if it is incomplete.
local function cut_out(text, from)
    local to = select(2, text:find("^<vpnGroup%s*/>", from)) or select(2, text:find("</vpnGroup%s*>", from))
    local root = to and xml.parse("<device>" .. text:sub(from, to) .. "</device>", WANTED)
    return root and root.children[1]
end

-- Read nearly any file without parsing all of it as XML, which takes a millisecond; folders may have thousands of files.
-- Return true and the vpnGroup (or nil) if a full parser would return the same; else false, and a full parse is required.
--
-- A strict parser accepts a vpnGroup that is a child of the root; in a damaged file it is accepted anywhere.  So it counts
-- in both cases if it is complete, the only one, and exactly one element is open before it.  The count of partial tags
-- gives the number of open elements, provided that < and > are equally frequent.
local function quick(text)
    local open = false
    if text:find("<!--", 1, true) then
        text, open = without_comments(text)
    end
    local root = text:match("^%s*<(%a+)[%s>]")
    if open or not ROOTS[root] or text:find("<!", 1, true) or text:find("<?", 1, true) then
        return false
    end
    local from = text:find("vpnGroup", 1, true)
    if not from then
        local closed = text:find("</device%s*>%s*$", -100) or text:find("</Default%s*>%s*$", -100)
        return closed and not text:find("fullConfig>%s*[fF]") and not text:find("<credentials", 1, true)
            and not text:find("<addresses", 1, true)
    end
    local words = occurrences(text, "vpnGroup", from, #text)
    from = from - 1
    local empty = text:find("^<vpnGroup%s*/>", from)
    if words ~= (empty and 1 or 2) or not (empty or text:find("^<vpnGroup%s*>", from)) then
        return false
    end
    local before = from - 1
    local tags, closing = occurrences(text, "<", 1, before), occurrences(text, "</", 1, before)
    if tags ~= occurrences(text, ">", 1, before) or tags - 2 * closing - occurrences(text, "/>", 1, before) ~= 1 then
        return false
    end
    local group = cut_out(text, from)
    return group ~= nil, group
end

-- Return the vpnGroup of a file that is not well-formed, if it is complete and the only one.
local function salvage(text)
    text = without_comments(text)
    local root = text:match("<([%a_][%w_.\128-\255-]*)")
    if not root then
        return nil, "it is not XML"
    elseif not is_root(root) then
        return nil, wrong_root(root)
    end
    local from = text:find("<vpnGroup%f[^%w_]")
    if from and not ROOTS[root] then
        return nil, OTHER_CASE:format(root)
    elseif from then
        if text:find("<vpnGroup%f[^%w_]", from + 1) then
            return nil, SEVERAL
        end
        local group = occurrences(text, "</vpnGroup", 1, #text) == (text:find("^<vpnGroup%s*/>", from) and 0 or 1)
            and cut_out(text, from)
        if not group then
            return nil, TORN
        end
        return group
    elseif not is_root(text:match("</(%a+)%s*>%s*$", -200) or "")
        or text:find("vpnGroup", 1, true) or text:find("<credentials", 1, true) or text:find("<addresses", 1, true) then
        return nil, "it is damaged or cut short, and a vpnGroup may be missing"
    end
    return false, (text:match("<fullConfig>%s*(%a+)%s*</fullConfig>") or ""):lower() == "false" and "encrypted" or nil
end

-- Return the vpnGroup of a file; false and "encrypted" for the short companion of an encrypted file; else nil and an
-- error.
local function thorough(text)
    if not text:find("<![CDATA[", 1, true) then
        text = with_references(text)
    end
    -- No file of CUCM declares the prefix of its xsi:type; this is not damage.
    if not text:find("xmlns:xsi", 1, true) then
        text = text:gsub("<device(%s)", '<device xmlns:xsi="urn:undeclared"%1', 1)
    end
    local root = xml.parse(text, WANTED)
    if not root then
        return salvage(text)
    elseif not is_root(root.name) then
        return nil, wrong_root(root.name)
    elseif not ROOTS[root.name] and text:find("vpnGroup", 1, true) then
        return nil, OTHER_CASE:format(root.name)
    end
    local groups = children(root, "vpnGroup")
    if #groups > 1 then
        return nil, SEVERAL
    elseif groups[1] then
        return groups[1]
    end
    local full = children(root, "fullConfig")[1]
    return false, full and trim(full.text):lower() == "false" and "encrypted" or nil
end

-- Return the text of the first element of a group in the right place, or "", and whether another such element has a
-- different text.
local function text_of(group, parent, name)
    local first, other = nil, false
    for _, element in ipairs(group.within) do
        local holder = element.parent
        if element.name == name and (parent and holder.name == parent and holder.parent == group
            or not parent and holder == group) then
            local text = trim(element.text)
            first = first or text
            other = other or text ~= first
        end
    end
    return first or "", other
end

-- Return the elements prefixN under a parent of the group, as { number =, text = } by number; nil and an error if one of
-- them is ambiguous.
local function numbered(group, parent, prefix, highest)
    local holders = {}
    for _, element in ipairs(group.within) do
        holders[element.parent] = true
    end
    local by_number, list, first_holder = {}, {}, nil
    for _, element in ipairs(group.within) do
        local digits = element.name:match("^" .. prefix .. "([1-9]%d?%d?%d?)$")
        local number, holder = tonumber(digits), element.parent
        if number and number <= highest and holder.name == parent and holder.parent == group then
            local text = trim(element.text)
            if holders[element] then
                return nil, ("<%s> contains other elements, so its value is unknown"):format(element.name)
            elseif first_holder and first_holder ~= holder then
                return nil, ("<%s> is in a second <%s>, and it is unknown which one counts"):format(element.name, parent)
            elseif by_number[number] and by_number[number] ~= text then
                return nil, ("<%s> occurs twice with different values, and it is unknown which one counts")
                    :format(element.name)
            end
            by_number[number], first_holder = text, holder
        end
    end
    for number = 1, highest do
        if by_number[number] then
            list[#list + 1] = { number = number, text = by_number[number] }
        end
    end
    return list
end

-- The lengths of the digests that a certHash may contain.
local ALGORITHMS = { [20] = "SHA-1", [32] = "SHA-256", [64] = "SHA-512" }

-- Return an error for text among the URLs or the hashes ("[lines omitted]", dots, the signs of a diff), or nil.
local function gap(group)
    local holders = {}
    for _, element in ipairs(group.within) do
        holders[element.parent] = true
    end
    for _, element in ipairs(group.within) do
        if (element.name == "addresses" or element.name == "credentials") and holders[element]
            and trim(element.text) ~= "" then
            return "text is among its URLs or hashes, where lines may be missing: copy the whole vpnGroup"
        end
    end
    local own = trim(group.text)
    if own ~= "" and own:find("^[-+%s]+$") and #group.within > 0 then
        return "its vpnGroup contains the signs of a diff, and it is unknown which lines count"
    end
    return nil
end

-- Add the vpnGroup to the file; return nil and an error if it cannot be read.
local function read_group(file, group)
    local urls, hashes
    local problem = gap(group)
    if problem then
        return nil, problem
    end
    urls, problem = numbered(group, "addresses", "url", 3)
    if not urls then
        return nil, problem
    end
    hashes, problem = numbered(group, "credentials", "certHash", 10)
    if not hashes then
        return nil, problem
    end
    file.urls = {}
    for _, url in ipairs(urls) do
        if url.text ~= "" then
            url.head_end, url.problem = M.head_end(url.text)
            file.urls[#file.urls + 1] = url
        end
    end
    for _, item in ipairs(hashes) do
        local digest = base64.decode(item.text)
        item.algorithm = digest and ALGORITHMS[#digest]
        item.digest = item.algorithm and digest or nil
    end
    file.hashes = hashes
    local several
    file.hash_algorithm, several = text_of(group, "credentials", "hashAlg")
    file.hash_algorithm = several and "" or file.hash_algorithm
    file.host_id_check, file.checked_twice = text_of(group, nil, "enableHostIDCheck")
    file.host_id_check = file.checked_twice and "" or file.host_id_check
    return file
end

--- Read a configuration file, plain or signed.
-- Returns { device, name, kind, urls, hashes, hash_algorithm, host_id_check }: kind is "plain", "signed" or "encrypted";
-- urls and hashes are nil if the file has no vpnGroup or is encrypted; a url is { number, text, head_end or problem }, a
-- hash { number, text, digest (bytes), algorithm }, the last two nil if malformed.
-- If it cannot be read correctly: nil and an error that continues a sentence after the file name.
---@param name string
---@param content string
---@return certhash.File|nil
---@return string|nil problem
function M.read(name, content)
    if #content > M.LARGEST then
        return nil, ("it has %.0f MB; a phone's configuration has only some kilobytes"):format(#content / 1048576)
    elseif not content:find("[^\0%s]") then
        return nil, "it is empty"
    end
    local file = { device = M.device(name) or M.base_name(name), name = M.base_name(name), kind = "plain" }
    if content:find("^\1\0\2") then
        local payload, encrypted = unwrap(content)
        if not payload then
            return nil, encrypted
        end
        content, file.kind = payload, encrypted and "encrypted" or "signed"
        if encrypted then
            return file
        end
    end
    local text, problem = plain_text(content)
    if not text then
        return nil, problem
    elseif text:find("<!", 1, true)
        and (text:find("<!%s*[dD][oO][cC][tT][yY][pP][eE]") or text:find("<!%s*[eE][nN][tT][iI][tT][yY]")) then
        return nil, "it has a document type declaration, which no phone's configuration has: not read"
    elseif not text:find("^%s*<") then
        return nil, "it is not XML"
    end
    text = without_declaration(text)
    local certain, group = quick(text)
    if not certain then
        group, problem = thorough(text)
        if group == nil then
            return nil, problem
        end
    end
    if group then
        return read_group(file, group)
    end
    file.kind = problem or file.kind
    return file
end

-- For the module for excerpts.
M.plain_text, M.without_comments, M.thorough, M.read_group = plain_text, without_comments, thorough, read_group
M.without_declaration, M.trim, M.wanted = without_declaration, trim, WANTED

local LONGEST_SHOWN, CERTIFICATE = 90, 200

--- Return a certHash for a message; a value too long for a hash is cut.
---@param text string
---@return string
function M.shown(text)
    text = text:gsub("%s", "")
    if #text <= LONGEST_SHOWN then
        return text
    end
    return ("%s... (%s characters)"):format(text:sub(1, 20), (tostring(#text):gsub("^(%d+)(%d%d%d)$", "%1,%2")))
end

--- Return why a certHash does not decode to a known digest.  scripts/certhash/cnf/rules.py returns the same phrase.
---@param text string
---@return string
function M.why_malformed(text)
    text = text:gsub("%s", "")
    local digits = text:gsub("[:-]", "")
    local lower = text:lower()
    if text == "" then
        return "no certificate can match it"
    elseif #digits == 40 and digits:find("^%x+$") then
        return "this is the thumbprint in hex, but a phone needs Base64"
    elseif #digits == 32 and digits:find("^%x+$") then
        return "this is an MD5 in hex, but a phone compares the SHA-1, in Base64"
    elseif lower:find("^sha256/") or lower:find("^pin%-sha256=") then
        return "this is the pin of a public key, but a phone compares the SHA-1 of the certificate"
    elseif #text > CERTIFICATE and (text:find("^MI") or text:find("^%-%-%-%-%-BEGIN")) then
        return "this is a whole certificate, not its hash; `certhash hash FILE` prints the hash"
    end
    local data = base64.decode(text) or ""
    if #data == 16 then
        return "it has 16 bytes, like an MD5, but a phone compares the SHA-1, which has 20"
    end
    local bytes = data:gsub("(%x%x)[ :-]?", "%1"):gsub("%s*$", "")
    if #bytes == 40 and bytes:find("^%x+$") then
        return "this is the Base64 of the thumbprint's hex text, but a phone needs the Base64 of its bytes"
    end
    return "not the Base64 of a SHA-1, SHA-256 or SHA-512"
end

--- Return a phrase for a hash that is longer than the SHA-1 that a phone compares.  scripts/certhash/cnf/rules.py returns
--- the same phrase.
---@param algorithm string
---@return string
function M.why_longer(algorithm)
    return ("is as long as a %s, of the certificate or of its public key (a pin): a phone compares the SHA-1 of the "
        .. "certificate"):format(algorithm)
end

--- Return messages about what makes a file impossible to check, or says otherwise than meant.
---@param file certhash.File
---@return string[]
function M.problems(file)
    local out = {}
    for _, url in ipairs(file.urls or {}) do
        if url.problem then
            out[#out + 1] = ("url%d: %s"):format(url.number, url.problem)
        end
    end
    for _, item in ipairs(file.hashes or {}) do
        if not item.digest then
            local written = item.text == "" and "is empty" or 'is "' .. M.shown(item.text) .. '"'
            out[#out + 1] = ("certHash%d %s: %s"):format(item.number, written, M.why_malformed(item.text))
        elseif item.algorithm ~= "SHA-1" and (file.hash_algorithm == "" or file.hash_algorithm == "0") then
            out[#out + 1] = ("certHash%d %s"):format(item.number, M.why_longer(item.algorithm))
        end
    end
    if file.checked_twice then
        out[#out + 1] = "enableHostIDCheck occurs twice with different values, and it is unknown which one counts: "
            .. "the check is taken to be on"
    end
    return out
end

-- ---------------------------------------------------------------------------------------------------------------------
-- URLs

-- Return whether a text is a host name: letters, digits, - and _ in labels of up to 63 (RFC 1035).
local function is_name(host)
    for label in (host .. "."):gmatch("([^.]*)%.") do
        if #label > 63 or not label:find("^[%w_][%w_-]*$") or label:find("-$") then
            return false
        end
    end
    return #host <= 253
end

--- Return the head-end that a URL names, { host =, port =, address = bytes or nil }; else nil and an error.
-- The host is in lower case, without a final dot or brackets.
---@param url string
---@return certhash.HeadEnd|nil
---@return string|nil problem
function M.head_end(url)
    url = trim(url)
    if url == "" then
        return nil, "the URL is empty"
    elseif url:find("[%c ]") then
        return nil, "the URL contains blanks or control characters"
    end
    local scheme, authority = url:match("^(%a[%w+.-]*)://([^/?#\\]*)")
    if not scheme then
        return nil, "the URL does not start with https:// and a host"
    elseif scheme:lower() ~= "https" then
        return nil, ("the URL starts with %s://, but a phone's VPN client needs https://"):format(scheme)
    elseif url:find("\\", 1, true) then
        return nil, "the URL contains a backslash, and it is unknown how a phone handles that"
    elseif authority:find("@", 1, true) then
        return nil, "the URL contains a user name, which a head-end's URL cannot have"
    end
    local literal, port = authority:match("^%[([^%[%]]*)%](.*)$")
    local host, bytes = literal, nil
    if not literal then
        host, port = authority:match("^([^:%[%]]*)(.*)$")
    end
    if port ~= "" and not port:find("^:[^:]*$") then
        return nil, "the URL's host is ambiguous: an IPv6 address needs [ ] around it"
    end
    if literal then
        bytes = host:find(":", 1, true) and address.parse(host)
        if not bytes then
            return nil, ("the URL's host [%s] is not an IPv6 address"):format(host)
        end
    else
        host = host:lower():gsub("%.$", "")
        if host == "" then
            return nil, "the URL has no host"
        elseif host:find("^%d+$") or host:find("%.%d+$") then  -- no top-level domain is a number
            bytes = address.parse(host)
            if not bytes then
                return nil, ("the URL's host %s is neither an IPv4 address nor a name"):format(host)
            end
        elseif not is_name(host) then
            return nil, ("the URL's host %s is not a valid name"):format(host)
        end
    end
    if bytes then
        -- An IPv4-mapped IPv6 address (::ffff:10.1.1.1) becomes the IPv4 address, which the packets carry.
        bytes = bytes:match("^" .. ("\0"):rep(10) .. "\255\255(....)$") or bytes
        host = address.text(bytes)
    end
    port = port:gsub("^:", "")
    if port == "" then
        return { host = host, port = 443, address = bytes }
    end
    local number = port:find("^%d%d?%d?%d?%d?$") and tonumber(port)
    if not number or number < 1 or number > 65535 then
        return nil, ("the URL's port %s is not a number from 1 to 65535"):format(port)
    end
    return { host = host, port = number, address = bytes }
end

return M
